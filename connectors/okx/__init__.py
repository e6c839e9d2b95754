"""OKX: REST v5, through ccxt."""
