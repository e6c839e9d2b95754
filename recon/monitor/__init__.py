"""Monitoring: heartbeats and deadlines, looked at while bots trade."""
