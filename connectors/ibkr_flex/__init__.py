"""Interactive Brokers' Flex statements, from the web service or from files."""
