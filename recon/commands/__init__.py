"""The larger commands, grouped by subject; `cli.py` joins them."""
