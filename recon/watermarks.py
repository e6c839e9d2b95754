"""Watermarks: which rows of a bot's tables may be other ones than when they were last read.

A mapping says so in the comments of its queries:

    -- watermark: trades(close_date) text       when a row was last written; text, epoch_s, epoch_ms
    -- follows: orders(ft_trade_id) trades(id)  which rows of orders go with which of trades
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

Form = Literal["text", "epoch_s", "epoch_ms"]
"""How a time is written: YYYY-MM-DD HH:MM:SS (UTC, or with an offset), or a number since 1970."""

_LINE = re.compile(r"^--\s*(watermark|follows):(.*)$", re.MULTILINE)
_WATERMARK = re.compile(rf"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*({'|'.join(get_args(Form))})\s*;?\s*")
_FOLLOWS = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*(\w+)\s*\(\s*(\w+)\s*\)\s*;?\s*")
_SHAPES = {
    "watermark": "-- watermark: table(column) text` (or epoch_s, or epoch_ms)",
    "follows": "-- follows: table(column) table(column)`",
}


@dataclass(frozen=True, slots=True)
class Watermark:
    """The column that says when a row of a table was written last; null where it is still open."""

    table: str
    column: str
    form: Form


@dataclass(frozen=True, slots=True)
class Follows:
    """A row of `table` goes with the row of `leader` whose `leader_column` its `column` names."""

    table: str
    column: str
    leader: str
    leader_column: str


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The tables, in lower case, of which not every row is read every night, and which rows are.

    A table with both lines is read where either says so. A table with neither is read whole.
    """

    columns: Mapping[str, Watermark]
    follows: Mapping[str, Follows]

    @property
    def tables(self) -> frozenset[str]:
        """The tables that are read above a watermark."""
        return frozenset(self.columns) | frozenset(self.follows)

    @property
    def requires(self) -> Mapping[str, frozenset[str]]:
        """The columns that are asked, by table."""
        needed: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        for mark in self.columns.values():
            needed[mark.table] |= {mark.column}
        for one in self.follows.values():
            needed[one.table] |= {one.column}
            needed[one.leader] |= {one.leader_column}
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

    Raises ConfigError for a line that says nothing, for two that contradict each other, and for
    tables that follow one that is read whole, or each other.
    """
    marks: set[Watermark] = set()
    follows: set[Follows] = set()
    for path, text in texts.items():
        for word, line in _LINE.findall(text):
            match = (_WATERMARK if word == "watermark" else _FOLLOWS).fullmatch(line)
            if match is None:
                raise ConfigError(f"{path}: write `{_SHAPES[word]}, not {line.strip()!r}")
            if word == "watermark":
                marks.add(Watermark(match[1].lower(), match[2].lower(), cast("Form", match[3])))
            else:
                follows.add(Follows(*(name.lower() for name in match.groups())))
    named = ", ".join(map(str, texts))
    _refuse_two(named, "watermark", [one.table for one in marks])
    _refuse_two(named, "table to follow", [one.table for one in follows])
    found = Watermarks({one.table: one for one in marks}, {one.table: one for one in follows})
    _check_leaders(named, found)
    return found


def _refuse_two(named: str, what: str, tables: Iterable[str]) -> None:
    for table, count in Counter(tables).items():
        if count > 1:
            raise ConfigError(f"{named}: table {table} has {count} lines that name a {what}: one")


def _check_leaders(named: str, watermarks: Watermarks) -> None:
    for one in watermarks.follows.values():
        if one.leader not in watermarks.tables:
            raise ConfigError(
                f"{named}: {one.table} follows {one.leader}, which is read whole: give "
                f"{one.leader} a `-- watermark:`, or let {one.table} be read whole, too"
            )
        seen = [one.table]
        while (leader := watermarks.follows.get(seen[-1])) is not None:
            seen.append(leader.leader)
            if leader.leader in seen[:-1]:
                raise ConfigError(
                    f"{named}: {' follows '.join(seen)}: let the first have a watermark alone"
                )
