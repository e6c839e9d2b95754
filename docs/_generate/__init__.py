"""What the documentation generates from the code, so that it cannot drift."""
