"""What `chaospoint.sources.launching` puts first on ``PYTHONPATH``: this directory alone."""
