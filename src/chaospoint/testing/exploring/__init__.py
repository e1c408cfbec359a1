"""Exploration: run a program once for each reach of a point, with a fault at that reach."""
