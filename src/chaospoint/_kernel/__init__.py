"""What a call runs. It knows no model, no file and no HTTP."""
