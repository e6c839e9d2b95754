"""Fetching: the plan of a run, its connectors, and the concurrent fetch of all sources."""
