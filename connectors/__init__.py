"""Connectors: each package reads one venue or the bot databases, behind one Protocol."""
