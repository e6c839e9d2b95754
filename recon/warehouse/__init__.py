"""The warehouse: the DuckDB file of evidence and numbers."""
