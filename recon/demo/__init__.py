"""A demonstration without accounts: loopback venues that speak as the real ones do."""
