"""Breaks: what bots claim, where it diverges, and the causes."""
