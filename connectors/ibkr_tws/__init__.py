"""Interactive Brokers' TWS API: today's executions, positions and cash."""
