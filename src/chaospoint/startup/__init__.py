"""What `chaospoint.launch` puts first on ``PYTHONPATH``: this directory, and no other of ours."""
