"""Assignments: a person names the bot of an order that the evidence gives to no bot.

They are kept only in the journal. A later assignment of the same order replaces an earlier one, and
the journal keeps both.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from recon.control import journal
from recon.control.transaction import transaction


class Filled(NamedTuple):
    """An order by its id, or a fill without an order by the fill's id: either can be assigned.

    `id` is unique within an account and `is_order`.
    """

    account: str
    is_order: bool
    id: str

    @property
    def name(self) -> str:
        """The name that a person reads: `order 123`."""
        return f"{'order' if self.is_order else 'fill'} {self.id}"


class Assignment(NamedTuple):
    """A person's assignment of an order or fill to a bot (None: to nobody). `at` is UTC."""

    filled: Filled
    bot: str | None
    who: str
    at: datetime
    why: str


def assign(db: sqlite3.Connection, assignments: Iterable[Assignment], user: str) -> None:
    """Write assignments to the journal, atomically. `user` is the user of this machine."""
    with transaction(db):
        for one in assignments:
            journal.append(
                db,
                at=one.at,
                who=one.who,
                act="assign",
                subject=f"{one.filled.account}/{one.filled.id}",
                why=one.why,
                user=user,
                bot=one.bot,
                **one.filled._asdict(),
            )


def history(db: sqlite3.Connection) -> list[Assignment]:
    """Return every assignment ever made, in order."""
    rows = db.execute(
        "select at, who, why, detail from journal where act = 'assign' order by entry"
    )
    found = []
    for at, who, why, text in rows:
        detail = json.loads(text)
        filled = Filled(**{name: detail[name] for name in Filled._fields})
        found.append(Assignment(filled, detail["bot"], who, datetime.fromisoformat(at), why))
    return found


def latest(assignments: Iterable[Assignment]) -> dict[Filled, Assignment]:
    """Return the assignment that holds for each order or fill: the last one."""
    return {one.filled: one for one in assignments}


def as_shown(one: Assignment) -> dict[str, Any]:
    """Return an assignment as commands show it; `bot` is null if nobody owns the order."""
    return {
        "order" if one.filled.is_order else "fill": one.filled.id,
        "bot": one.bot,
        "by": one.who,
        "at": one.at.isoformat(),
        "reason": one.why,
    }
