"""What a test holds, counts and checks."""
