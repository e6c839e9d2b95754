"""Watermarks: the rows of a bot's tables that may have changed since the last reading.

A mapping declares them in the comments of its queries:

    -- watermark: trades(close_date) text    when a row was last written; text, epoch_s, epoch_ms
    -- unit: trades(id) orders(ft_trade_id)  rows that belong together: read and mapped as one

A unit is read whole if any of its rows may have changed. Its mapped rows depend on its own rows
alone. A query that adds up several units (`positions.sql`) uses tables that are read every time.
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
"""The form of a time: YYYY-MM-DD HH:MM:SS (UTC or with an offset), or a number since 1970."""

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
    """The column with the time when a row was last written; null while the row is open."""

    table: str
    column: str
    form: Form


Unit = Mapping[str, str]
"""The column of each table of a unit. Rows with the same value belong together."""


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The tables (in lower case) that a run may read in part, and the rows that it then reads.

    A table without a watermark and outside all units is read whole.
    """

    columns: Mapping[str, Watermark]
    units: Sequence[Unit] = ()

    @property
    def tables(self) -> frozenset[str]:
        """The tables that are read above a watermark."""
        return frozenset(self.columns).union(*self.units)

    @property
    def is_in_units(self) -> bool:
        """Whether every table read in part is in a unit: then the part can be mapped separately."""
        return bool(self.columns) and self.columns.keys() <= set().union(*self.units)

    def unit_of(self, table: str) -> Unit:
        """Return the unit of a table; an empty unit if it is in none."""
        return next((unit for unit in self.units if table in unit), {})

    @property
    def requires(self) -> Mapping[str, frozenset[str]]:
        """The columns that reading by watermark needs, by table."""
        needed: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        for mark in self.columns.values():
            needed[mark.table] |= {mark.column}
        for table, column in (member for unit in self.units for member in unit.items()):
            needed[table] |= {column}
        return needed


@dataclass(frozen=True, slots=True)
class Above:
    """How a bot database is read above its watermarks.

    A window that starts after `beginning` (UTC) requests the rows that may have changed since its
    start. A window that starts at `beginning` requests all rows. `watermarks` returns the
    watermarks of tables with the given columns.
    """

    beginning: datetime
    watermarks: Callable[[Mapping[str, Sequence[str]]], Watermarks]


def read_watermarks(texts: Mapping[Path, str]) -> Watermarks:
    """Return the watermarks and units in the queries of a mapping. Equal lines count once.

    Raises ConfigError for an invalid line, for contradicting lines, and for a unit without a
    watermark.
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
    _refuse_duplicates(named, "watermark", [one.table for one in marks])
    _refuse_duplicates(named, "unit", [table for unit in units for table, _ in unit])
    found = Watermarks({one.table: one for one in marks}, [dict(unit) for unit in sorted(units)])
    for unit in found.units:
        if not unit.keys() & found.columns.keys():
            raise ConfigError(
                f"{named}: no table of the unit {', '.join(unit)} has a `-- watermark:` line: "
                "add the line, or remove the unit"
            )
    return found


def _refuse_duplicates(named: str, word: str, tables: Iterable[str]) -> None:
    for table, count in Counter(tables).items():
        if count > 1:
            raise ConfigError(f"{named}: table {table} has {count} `-- {word}:` lines: keep one")
