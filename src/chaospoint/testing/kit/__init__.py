"""The `Chaos` object of a test, and the checks at the end of the test."""
