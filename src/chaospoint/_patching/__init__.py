"""Turn callables into placements: patch Python functions (`site`), wrap the others (`wrapper`)."""
