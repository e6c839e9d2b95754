"""Bot databases: SQLite, PostgreSQL, CSV, JSON, Parquet."""
