"""The parts of the soak test."""
