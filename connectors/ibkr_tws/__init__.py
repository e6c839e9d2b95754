"""Interactive Brokers' TWS API: today's executions and positions."""
