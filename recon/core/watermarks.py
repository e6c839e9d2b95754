"""Watermarks: which rows of a bot's tables may be other ones than when they were last read.

A mapping says so in the comments of its queries:

    -- watermark: trades(close_date) text    when a row was last written; text, epoch_s, epoch_ms
    -- unit: trades(id) orders(ft_trade_id)  rows that belong together: read and mapped as one

A unit is read as a whole when any of its rows may have changed, and what the mapping says of it
follows from its rows alone. What a query adds up over several units (`positions.sql`) it takes from
rows that are read every time.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, cast, get_args

from recon.errors import ConfigError
from recon.outside_text import quoted_value

Form = Literal["text", "epoch_s", "epoch_ms"]
"""How a time is written: YYYY-MM-DD HH:MM:SS (UTC, or with an offset), or a number since 1970."""

_LINE = re.compile(r"^--\s*(watermark|unit):(.*)$", re.MULTILINE)
_WATERMARK = re.compile(rf"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*({'|'.join(get_args(Form))})\s*;?\s*")
_MEMBER = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*\)")
_UNIT = re.compile(rf"({_MEMBER.pattern})+\s*;?\s*")
_SHAPES = {
    "watermark": "-- watermark: table(column) text` (or epoch_s, or epoch_ms)",
    "unit": "-- unit: table(column) table(column) …`",
}


@dataclass(frozen=True, slots=True)
class Watermark:
    """The column that says when a row of a table was written last; null where it is still open."""

    table: str
    column: str
    form: Form


Unit = Mapping[str, str]
"""The column of each of its tables that says, by the same value, which rows belong together."""


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The tables, in lower case, of which not every row is read every night, and which rows are.

    A table that has no watermark and is in no unit is read whole.
    """

    columns: Mapping[str, Watermark]
    units: Sequence[Unit] = ()

    @property
    def tables(self) -> frozenset[str]:
        """The tables that are read above a watermark."""
        return frozenset(self.columns).union(*self.units)

    @property
    def is_in_units(self) -> bool:
        """Whether all that is read in part is read in units: then it can be mapped by itself."""
        return bool(self.columns) and self.columns.keys() <= set().union(*self.units)

    def unit_of(self, table: str) -> Unit:
        """Return the unit of a table: empty where it is in none."""
        return next((unit for unit in self.units if table in unit), {})

    @property
    def requires(self) -> Mapping[str, frozenset[str]]:
        """The columns that are asked, by table."""
        needed: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        for mark in self.columns.values():
            needed[mark.table] |= {mark.column}
        for table, column in (member for unit in self.units for member in unit.items()):
            needed[table] |= {column}
        return needed


@dataclass(frozen=True, slots=True)
class Above:
    """How books are read above their watermarks.

    A window that starts after `beginning` (UTC) asks for what may have changed since it starts, one
    that starts there for everything. `watermarks` gives those of tables with these columns.
    """

    beginning: datetime
    watermarks: Callable[[Mapping[str, Sequence[str]]], Watermarks]


def read_watermarks(texts: Mapping[Path, str]) -> Watermarks:
    """Read the lines of a mapping's queries. The same line in two files is one.

    Raises ConfigError for a line that says nothing, for two that contradict each other, and for a
    unit that has no watermark.
    """
    marks: set[Watermark] = set()
    units: set[tuple[tuple[str, str], ...]] = set()
    for path, text in texts.items():
        for word, line in _LINE.findall(text):
            match = (_WATERMARK if word == "watermark" else _UNIT).fullmatch(line)
            if match is None:
                raise ConfigError(
                    f"{path}: write `{_SHAPES[word]}, not {quoted_value(line.strip())}"
                )
            if word == "watermark":
                marks.add(Watermark(match[1].lower(), match[2].lower(), cast("Form", match[3])))
            else:
                units.add(tuple(sorted(_MEMBER.findall(line.lower()))))
    named = ", ".join(map(str, texts))
    _refuse_two(named, "watermark", [one.table for one in marks])
    _refuse_two(named, "unit", [table for unit in units for table, _ in unit])
    found = Watermarks({one.table: one for one in marks}, [dict(unit) for unit in sorted(units)])
    for unit in found.units:
        if not unit.keys() & found.columns.keys():
            raise ConfigError(
                f"{named}: no table of the unit {', '.join(unit)} has a `-- watermark:`: give one "
                "of them one, or let them be read whole"
            )
    return found


def _refuse_two(named: str, what: str, tables: Iterable[str]) -> None:
    for table, count in Counter(tables).items():
        if count > 1:
            raise ConfigError(f"{named}: table {table} has {count} lines that name a {what}: one")
