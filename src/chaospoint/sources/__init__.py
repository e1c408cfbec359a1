"""Settings, rules from environment variables, and rules from files."""
