"""Mappings: queries over a bot's own database, run in a sealed child process."""
