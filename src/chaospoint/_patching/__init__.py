"""How a callable becomes a placement."""
