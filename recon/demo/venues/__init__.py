"""Loopback venues that speak the protocols of OKX and of the Flex Web Service."""
