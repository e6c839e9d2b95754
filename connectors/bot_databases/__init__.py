"""Bots' own databases: SQLite, PostgreSQL, CSV, JSON, Parquet."""
