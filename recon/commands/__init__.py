"""Commands that are a subject of their own, each module with its own; `cli.py` joins them."""
