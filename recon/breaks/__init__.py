"""Breaks: the claims of bots, their divergences and the causes."""
