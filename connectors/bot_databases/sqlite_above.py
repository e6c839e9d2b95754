"""The rows of a bot's tables above their watermarks, as SQLite conditions.

A row is left out only if it certainly was not written since. A row without a time, or with a time
in another form, is always read. The rows of a unit are all read, or none.
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
"""An earlier time stands for no time (0, 1970-01-01), or is in seconds in place of ms."""
_TEXT = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-9][0-9]:[0-9][0-9]:[0-9][0-9]*"


def conditions_above(
    database: sqlite3.Connection,
    columns: Mapping[str, Sequence[str]],
    above: Above | None,
    start: datetime,
) -> dict[str, str]:
    """Return the condition on the rows of each table that is read only above a watermark.

    `columns` are those of all tables that are read. A table whose ids may change is read whole.
    Raises BotDatabaseError for a watermark on a column that is not in `columns`.
    """
    if above is None or start <= above.beginning:
        return {}
    watermarks = above.watermarks(columns)
    _check_columns(columns, watermarks)
    return {
        table: _is_read(table.lower(), watermarks, start)
        for table in columns
        if table.lower() in watermarks.tables and has_lasting_ids(database, table)
    }


def _check_columns(columns: Mapping[str, Sequence[str]], watermarks: Watermarks) -> None:
    present = {table.lower(): {one.lower() for one in names} for table, names in columns.items()}
    for table, needed in watermarks.requires.items():
        for column in sorted(needed - present.get(table, set())):
            raise BotDatabaseError(
                f"the mapping's watermarks need {table}.{column}, which this database lacks: "
                "correct its `-- watermark:` and `-- unit:` lines"
            )


def _is_read(table: str, watermarks: Watermarks, start: datetime) -> str:
    """Return the condition, never null, that a row may have changed since `start`."""
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
    """Return the condition that a row's time is not certainly before `start`."""
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
