"""The directory that `chaospoint.sources.launching` puts first on ``PYTHONPATH``."""
