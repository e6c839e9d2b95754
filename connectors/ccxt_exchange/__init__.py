"""Any other exchange that ccxt knows."""
