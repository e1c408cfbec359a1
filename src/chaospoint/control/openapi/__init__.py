"""The description that the admin endpoint gives of itself."""
