"""The story of the demo: its bots, their databases, and the nights that are played."""
