"""Which rows of a bot's tables lie above their watermarks, as SQLite's conditions.

Left out is only what certainly was not written since: a row without a time, or whose time is not
written as it should be, is read always. Of a unit all rows are read, or none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from connectors.bot_databases.sqlite_tables import has_lasting_ids
from recon.core.sql_names import quoted
from recon.core.watermarks import Above, Watermark, Watermarks
from recon.errors import BotDatabaseError

_BEFORE_BOTS = datetime(2000, 1, 1, tzinfo=UTC)
"""A time before that stands for none (0, 1970-01-01), or is in seconds where it should be in ms."""
_TEXT = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-9][0-9]:[0-9][0-9]:[0-9][0-9]*"


def conditions_above(
    books: sqlite3.Connection,
    columns: Mapping[str, Sequence[str]],
    above: Above | None,
    start: datetime,
) -> dict[str, str]:
    """Return, of each table that is to be read above a watermark only, which of its rows.

    `columns` are those of all tables that are read. A table whose ids may change is read whole.
    Raises BotDatabaseError for a watermark that is not in them.
    """
    if above is None or start <= above.beginning:
        return {}
    watermarks = above.watermarks(columns)
    _check_columns(columns, watermarks)
    return {
        table: _is_read(table.lower(), watermarks, start)
        for table in columns
        if table.lower() in watermarks.tables and has_lasting_ids(books, table)
    }


def _check_columns(columns: Mapping[str, Sequence[str]], watermarks: Watermarks) -> None:
    present = {table.lower(): {one.lower() for one in names} for table, names in columns.items()}
    for table, needed in watermarks.requires.items():
        for column in sorted(needed - present.get(table, set())):
            raise BotDatabaseError(
                f"the mapping's watermarks ask for {table}.{column}, which these books lack: "
                "correct its `-- watermark:` and `-- unit:` lines"
            )


def _is_read(table: str, watermarks: Watermarks, start: datetime) -> str:
    """Return the condition, never null, that a row of a table may be another one since `start`."""
    mark, unit = watermarks.columns.get(table), watermarks.unit_of(table)
    conditions = [] if mark is None else [_is_recent(mark, start)]
    marked = [(quoted(unit[one]), one) for one in unit if one in watermarks.columns]
    if marked:
        column = f"{quoted(table)}.{quoted(unit[table])}"
        recent = " union all ".join(
            f"select {key} from {quoted(one)} not indexed"
            f" where {_is_recent(watermarks.columns[one], start)}"
            for key, one in marked
        )
        conditions.append(f"coalesce({column} in ({recent}), 0) or {column} is null")
    if mark is None:
        named = " union all ".join(
            f"select {key} from {quoted(one)} not indexed where {key} is not null"
            for key, one in marked
        )
        conditions.append(f"{column} not in ({named})")
    return "(" + " or ".join(conditions) + ")"


def _is_recent(mark: Watermark, start: datetime) -> str:
    """Return the condition that a row's time isn't one that lies before `start`."""
    value = f"{quoted(mark.table)}.{quoted(mark.column)}"
    if mark.form == "text":
        is_written = f"typeof({value}) = 'text' and {value} glob '{_TEXT}'"
        time = f"case when {is_written} then datetime({value}) end"
        since, until = (f"'{one:%Y-%m-%d %H:%M:%S}'" for one in (_BEFORE_BOTS, start))
    else:
        time = f"case when typeof({value}) in ('integer', 'real') then {value} end"
        unit = 1_000 if mark.form == "epoch_ms" else 1
        since, until = (str(int(one.timestamp()) * unit) for one in (_BEFORE_BOTS, start))
    return f"not coalesce({time} >= {since} and {time} < {until}, 0)"
