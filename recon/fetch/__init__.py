"""Fetching: what to fetch, from which connector, all sources side by side."""
