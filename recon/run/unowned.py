"""Unowned fills, and their assignments by persons: `recon unowned`, `recon assign`.

The fills are those that the last run has stored, the assignments those in the journal. No venue is
asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from recon.config.settings import Config
from recon.control.assignments import Assignment, Filled, as_shown, latest
from recon.control.ledger import Ledger
from recon.core.numbers import text
from recon.errors import UsageError
from recon.run.read_published import PATIENCE_S, reading
from recon.system.state_folder import Note
from recon.warehouse.commit import WAREHOUSE
from recon.warehouse.database import Warehouse


class Said(NamedTuple):
    """A person's statement about orders: their bot (None: no bot), who says so, when and why."""

    bot: str | None
    who: str
    user: str
    at: datetime
    why: str


def unowned_fills(
    config: Config,
    *,
    accounts: Collection[str] = (),
    is_all: bool = False,
    patience_s: float = PATIENCE_S,
    note: Note | None = None,
) -> list[dict[str, Any]]:
    """Return the fills that no bot owns, the oldest first, each with its assignments.

    With `is_all` the result includes fills that were assigned to a bot. Raises UsageError before
    the first run; LockedError if a run holds the state for longer than `patience_s` and no backup
    has the last commit. `note` gets the name of the process that the call waits for.
    """
    with _stored(config, patience_s, note) as (warehouse, ledger):
        history = ledger.assignments()
        bots = {bot.id for bot in config.bots}
        shown = [filled for filled, one in latest(history).items() if is_all or one.bot not in bots]
        rows = _rows(warehouse, shown)
    made = _by_order(history)
    names = set(accounts) or {account.id for account in config.accounts}
    return [_shown(row, made) for row in rows if row["account"] in names]


def assign_orders(
    config: Config,
    names: Sequence[str],
    said: Said,
    *,
    account: str | None = None,
    patience_s: float = PATIENCE_S,
    note: Note | None = None,
) -> list[dict[str, Any]]:
    """Assign orders to a bot or to nobody; return their fills.

    `names` are ids of orders, or of fills without an order. Raises UsageError for an unknown id,
    for an id in several accounts if no `account` is given, and for an unknown bot or one of another
    account; LockedError as `unowned_fills`.
    """
    with _stored(config, patience_s, note) as (warehouse, ledger):
        found = [_filled(warehouse, config, name, account) for name in dict.fromkeys(names)]
        for filled in found:
            _check_bot(config, filled, said.bot)
        made = [Assignment(filled, said.bot, said.who, said.at, said.why) for filled in found]
        ledger.assign(made, said.user)
        rows = _rows(warehouse, found)
        history = _by_order(ledger.assignments())
    return [_shown(row, history) for row in rows if _key(row) in found]


@contextmanager
def _stored(
    config: Config, patience_s: float, note: Note | None
) -> Iterator[tuple[Warehouse, Ledger]]:
    folder = config.state
    if not (folder / WAREHOUSE).exists():
        raise UsageError(f"there is no evidence in {folder} yet: run  recon run  first")
    with reading(folder, patience_s=patience_s, note=note) as (warehouse, ledger):
        if not warehouse.has("pnl", "unowned"):
            raise UsageError(
                f"the warehouse in {folder} is of an earlier release: run  recon run  first"
            )
        yield warehouse, ledger


def _filled(warehouse: Warehouse, config: Config, name: str, account: str | None) -> Filled:
    """Return the order, or the fill without an order, with this id."""
    rows = warehouse.rows(
        """
        select distinct account, order_id is not null as is_order from evidence.fills
        where coalesce(order_id, fill_id) = $name order by account, is_order desc
        """,
        {"name": name},
    )
    known = {one.id for one in config.accounts if account in {None, one.id}}
    found = [Filled(row["account"], row["is_order"], name) for row in rows]
    found = [one for one in found if one.account in known]
    if not found:
        where = f" of {account}" if account else ""
        raise UsageError(
            f"{name}: this is the id of no order{where} in the evidence, and of no fill without an "
            "order: `recon unowned` lists the fills without an owner"
        )
    if len(accounts := dict.fromkeys(one.account for one in found)) > 1:
        raise UsageError(
            f"{name}: {', '.join(accounts)} have an order with this id: name one by --account"
        )
    return found[0]


def _check_bot(config: Config, filled: Filled, bot: str | None) -> None:
    if bot is None:
        return
    of = {one.id: one.account for one in config.bots}
    if bot not in of:
        raise UsageError(
            f"--bot {bot}: there is no such bot in {config.path}: "
            f"use one of {', '.join(sorted(of))}"
        )
    if of[bot] != filled.account:
        raise UsageError(
            f"--bot {bot}: this bot trades {of[bot]}, and {filled.name} is of {filled.account}: "
            "name a bot of that account"
        )


def _rows(warehouse: Warehouse, more: Iterable[Filled]) -> list[dict[str, Any]]:
    """Return the unowned fills, and those that `more` names."""
    named = pa.Table.from_pylist(
        [one._asdict() for one in more],
        schema=pa.schema([("account", pa.string()), ("is_order", pa.bool_()), ("id", pa.string())]),
    )
    with warehouse.registered("named", named):
        return warehouse.rows(
            """
            select f.account, f.at, f.session_date, f.instrument, f.qty, f.price, f.order_id,
              f.fill_id, coalesce(
                nullif(n.client_order_id, ''), nullif(f.order_tag, ''),
                nullif(n.algo_client_order_id, ''), nullif(n.tag, '')
              ) as tag
            from (
              select account, fill_id from pnl.unowned
              union
              select f.account, f.fill_id
              from evidence.fills f
              join named x
                on x.account = f.account and x.is_order = (f.order_id is not null)
                and x.id = coalesce(f.order_id, f.fill_id)
            ) u
            join evidence.fills f on f.account = u.account and f.fill_id = u.fill_id
            left join evidence.orders n on n.account = f.account and n.order_id = f.order_id
            order by f.at, f.account, f.seq, f.fill_id
            """
        )


def _by_order(history: Iterable[Assignment]) -> Mapping[Filled, list[Assignment]]:
    made: dict[Filled, list[Assignment]] = defaultdict(list)
    for one in history:
        made[one.filled].append(one)
    return made


def _key(row: dict[str, Any]) -> Filled:
    is_order = row["order_id"] is not None
    return Filled(row["account"], is_order, row["order_id"] if is_order else row["fill_id"])


def _shown(row: dict[str, Any], made: Mapping[Filled, list[Assignment]]) -> dict[str, Any]:
    return {
        "account": row["account"],
        "at": f"{row['at']:%Y-%m-%dT%H:%M:%SZ}",
        "session": row["session_date"].isoformat(),
        "instrument": row["instrument"],
        "side": "buy" if row["qty"] > 0 else "sell",
        "qty": text(abs(row["qty"])),
        "price": None if row["price"] is None else text(row["price"]),
        "order": row["order_id"],
        "fill": row["fill_id"],
        "tag": row["tag"],
        "assignments": [as_shown(one) for one in made.get(_key(row), ())],
    }
