"""What is armed, on which points."""
