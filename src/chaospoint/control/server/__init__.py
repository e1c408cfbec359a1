"""The server of the admin endpoint."""
