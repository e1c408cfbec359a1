"""Each reach of a program is failed in turn."""
