"""Assignments: a person says whose an order is, where no evidence does.

They are kept in the journal alone. A later assignment of the same order takes the place of an
earlier one, and the journal keeps both.
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
    """What can be assigned: an order by its id or, where a fill has no order, the fill by its own.

    `id` is unique within an account and `is_order`.
    """

    account: str
    is_order: bool
    id: str

    @property
    def name(self) -> str:
        """What a person reads: `order 123`."""
        return f"{'order' if self.is_order else 'fill'} {self.id}"


class Assignment(NamedTuple):
    """Whose a person says an order or a fill is: a bot's, or no bot's (`bot` None). `at` is UTC."""

    filled: Filled
    bot: str | None
    who: str
    at: datetime
    why: str


def assign(db: sqlite3.Connection, assignments: Iterable[Assignment], user: str) -> None:
    """Note assignments in the journal: all of them, or none. `user` is this machine's."""
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
    """Return every assignment that was ever made, in their order."""
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
    """Return the assignment that holds of each order or fill: the last one made."""
    return {one.filled: one for one in assignments}


def as_shown(one: Assignment) -> dict[str, Any]:
    """Return an assignment as commands show it: `bot` is null where the order is no bot's."""
    return {
        "order" if one.filled.is_order else "fill": one.filled.id,
        "bot": one.bot,
        "by": one.who,
        "at": one.at.isoformat(),
        "reason": one.why,
    }
