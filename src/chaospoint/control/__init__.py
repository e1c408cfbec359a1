"""The admin endpoint: one pure service, one door, and adapters of a few lines."""
