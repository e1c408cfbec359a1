"""Clocks for tests: time that a test moves, and time that is skipped."""
