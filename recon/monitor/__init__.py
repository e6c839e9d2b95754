"""Monitoring of heartbeats and deadlines while bots trade."""
