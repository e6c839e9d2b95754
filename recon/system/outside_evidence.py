"""Evidence without secrets: a key that a venue or a bot repeats does not reach the state."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from recon.core.records import Coverage, Record, Table
from recon.outside_text import data_hint, redact_data, redact_leaves

Item = Record | Table | Coverage


def without_secrets(items: Sequence[Item]) -> list[Item]:
    """Return what a source gave, each secret in it that is not weak replaced by its name.

    All else is as the source wrote it. What has no secret is the same object.
    """
    hint = data_hint()
    if hint is None:
        return list(items)
    cleaned = list(items)
    records = [(place, item) for place, item in enumerate(items) if isinstance(item, Record)]
    suspects = set(_places([item.payload for _, item in records], hint))
    suspects |= set(_places([f"{item.kind} {item.id}" for _, item in records], hint))
    for number in suspects:
        place, record = records[number]
        cleaned[place] = _record(record)
    for place, item in enumerate(items):
        if isinstance(item, Table):
            cleaned[place] = _table(item, hint)
    return cleaned


def _places(texts: Sequence[str], hint: str) -> list[int]:
    """Return which of the texts may have a secret."""
    may_have = pc.match_substring_regex(pa.array(texts, pa.large_string()), hint)
    found: list[int] = pc.indices_nonzero(may_have).to_pylist()
    return found


def _record(record: Record) -> Record:
    try:
        payload = redact_leaves(json.loads(record.payload))
    except RecursionError:  # its nesting is refused where it is read
        return record._replace(payload=redact_data(record.payload))
    return record._replace(
        kind=redact_data(record.kind),
        id=redact_data(record.id),
        payload=json.dumps(payload, ensure_ascii=False, separators=(",", ":")),
    )


def _table(table: Table, hint: str) -> Table:
    names = [redact_data(name) for name in table.batches.column_names]
    columns = table.batches.columns
    cleaned = [_column(column, hint) for column in columns]
    if names == table.batches.column_names and all(map(operator.is_, cleaned, columns)):
        return table
    return Table(redact_data(table.kind), pa.table(cleaned, names=names))


def _column(column: pa.ChunkedArray, hint: str) -> pa.ChunkedArray:
    if not pc.any(pc.match_substring_regex(column, hint)).as_py():
        return column
    texts = [text and redact_data(text) for text in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, column.type)])
