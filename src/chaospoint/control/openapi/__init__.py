"""The OpenAPI description of the admin endpoint."""
