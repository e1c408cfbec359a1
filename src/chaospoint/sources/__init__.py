"""What comes from the environment and from files."""
