"""Paging: pages are decided, sent through channels, and acknowledged by replies."""
