"""Points on code that nobody decorates."""
