"""Quoted names in SQL. Any name is safe, because it is always quoted."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier, for DuckDB and SQLite alike."""
    return '"' + name.replace('"', '""') + '"'
