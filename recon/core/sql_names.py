"""Names in SQL: quoted, always, whatever somebody called a table."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return `name` as an SQL identifier, for DuckDB and SQLite alike."""
    return '"' + name.replace('"', '""') + '"'
