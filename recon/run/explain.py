"""Explain a bot's divergence: cause by cause, then trade by trade, beside the broker's fills."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

from recon.bot_databases.mappings import biases
from recon.control.assignments import Assignment, Filled, as_shown
from recon.core.numbers import EXACT, text
from recon.core.records import Cause
from recon.errors import UsageError
from recon.outside_text import csv_cell
from recon.report.schema import SCHEMA
from recon.run.nightly import Night, dry_run
from recon.warehouse.database import Warehouse

WORST = 5
"""How many trades are shown beside their fills."""
NOISE = Decimal("1e-9")
"""A divergence of a trade up to this is rounding noise of floats."""
MOST = Decimal("0.5")
"""A cause with more than this share of all amounts dominates."""
PROBABLY: Mapping[Cause, str] = {
    "fee_missing": "it stores the price difference as PnL, and never subtracts the fee",
    "fee_rate_guessed": "it computes its fees from a rate, and does not read the charged fees",
    "fee_currency_value": "it values fees in another coin at its own price",
    "funding_missing": "it does not read the venue's funding payments",
    "funding_misplaced": "it books funding on other trades than those that paid it",
    "price": "it books the price of its order, or of one fill, and not the mean price of the fills",
    "quantity": "it books the quantity of its order, or counts a cumulative quantity as new",
    "duplicate": "it books a trade twice, after a restart or a repeated message",
    "phantom": "it books an order when it sends the order, and not when the order is filled",
    "unrecorded": "it misses fills that others cause: liquidations, manual closes, another process "
    "with its keys",
    "adopted": "it takes over positions and orders that another bot opened",
    "multiplier": "it counts a contract as one coin",
    "side": "it books longs as shorts, or the other way round",
    "arithmetic": "its pnl does not follow from its own prices and costs",
    "lot_method": "it pairs entries and exits by another lot method than the account",
    "currency": "it adds up amounts of several currencies",
    "unowned": "no bot owns the orders that its database names: assign them with recon assign",
    "correction": "the broker restated fills after the bot had booked them",
    "timing": "its clock, or the session in which it books a trade, differs from the venue's",
    "dividend": "it does not book dividends",
    "tax": "it does not book taxes",
    "interest": "it does not book interest",
    "deleted": "somebody deletes rows of its database",
    "unexplained": "its database has too little detail: map order_ids, quantities and prices",
}
COLUMNS = ("bot", "session", "trade", "instrument", "cause", "amount", "says")
"""The columns of the evidence that is written as CSV."""


def explain(night: Night, bot: str, trade: str | None = None) -> dict[str, Any]:
    """Return the causes of a bot's divergence as of a session, from stored evidence alone.

    Nothing is fetched or recorded. `trade` is the trade to show; by default those with the largest
    divergence are shown. Raises UsageError for an unknown bot or trade.
    """
    with dry_run(night, bot) as (document, warehouse):
        [entry] = [one for one in document["bots"] if one["bot"] == bot]
        [account] = [one for one in document["accounts"] if one["account"] == entry["account"]]
        rows = warehouse.rows(
            "select f.* from causes.found f where f.bot = ? "
            "order by session_date, trade_id nulls last, cause, says",
            [bot],
        )
        trades = _worst(rows) if trade is None else [_known(warehouse, bot, trade)]
        return {
            "schema": SCHEMA,
            "bot": bot,
            "account": entry["account"],
            "currency": account["currency"],
            "as_of": document["as_of"],
            "status": entry["status"],
            "reasons": entry["reasons"],
            "window": entry["window"],
            "session": entry["session"],
            "probably": _probably(
                entry["window"]["causes"], _known_ways(warehouse, bot, night.config.folder)
            ),
            "trades": [_side_by_side(warehouse, bot, name, rows) for name in trades],
            "assignments": _assignments(warehouse, bot),
            "without_trade": [_cause(row) for row in rows if row["trade_id"] is None],
            "evidence": [_evidence(row) for row in rows],
        }


def write_evidence(path: Path, explanation: Mapping[str, Any]) -> None:
    """Write every cause as CSV. Cells that a spreadsheet would execute become text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in explanation["evidence"]:
            cells = {name: csv_cell(row[name] or "") for name in COLUMNS}
            writer.writerow({**cells, "amount": row["amount"]}.values())


def _worst(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the trades with the largest divergence, the largest first."""
    off: dict[str, Decimal] = {}
    for row in rows:
        if row["trade_id"] is not None:
            off[row["trade_id"]] = EXACT.add(off.get(row["trade_id"], Decimal(0)), row["amount"])
    wrong = {name: amount.copy_abs() for name, amount in off.items() if amount.copy_abs() > NOISE}
    return sorted(wrong, key=lambda name: (-wrong[name], name))[:WORST]


def _known(warehouse: Warehouse, bot: str, trade: str) -> str:
    if warehouse.rows(
        "select 1 from claimed.trades where bot = ? and trade_id = ? limit 1", [bot, trade]
    ):
        return trade
    raise UsageError(
        f"the database of {bot} has no closed trade {trade!r}: name one that `recon explain` lists"
    )


def _known_ways(warehouse: Warehouse, bot: str, folder: Path) -> dict[str, str]:
    """Return the known faults of a bot of this kind, by cause."""
    rows = warehouse.rows("select mapping from bot_database.readable where bot = ?", [bot])
    return biases(rows[0]["mapping"], folder) if rows else {}


def _probably(causes: Sequence[Mapping[str, Any]], known: Mapping[str, str]) -> list[str]:
    """Return the probable fault of the bot, if one cause dominates.

    A fault known of the bot's kind takes precedence over the general one.
    """
    amounts = {row["cause"]: abs(Decimal(row["amount"])) for row in causes}
    whole = sum(amounts.values())
    return [
        known.get(cause, PROBABLY[cause])
        for cause, amount in amounts.items()
        if whole and amount > MOST * whole
    ]


def _side_by_side(
    warehouse: Warehouse, bot: str, trade: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return one trade as booked, the broker's fills for it, and the causes between them."""
    [booked] = warehouse.rows("from claimed.trades where bot = ? and trade_id = ?", [bot, trade])
    fills = warehouse.rows(
        """
        select
          e.fill_id as fill, e.order_id as order, e.at, m.rule, f.bot,
          case when e.qty > 0 then 'buy' else 'sell' end as side,
          abs(e.qty) as qty, e.price, e.fee, e.fee_currency
        from causes.matched m
        join causes.fills f
          on f.account = m.account and f.instrument = m.instrument and f.order_id = m.order_id
          and coalesce(m.event_id = f.event_id, true)
        join evidence.fills e
          on e.account = f.account and e.instrument = f.instrument and e.fill_id = f.event_id
        where m.bot = ? and m.trade_id = ?
        order by e.at, e.seq
        """.replace(" as order,", ' as "order",'),
        [bot, trade],
    )
    causes = [row for row in rows if row["trade_id"] == trade]
    return {
        "trade": trade,
        "booked": {
            name: _shown(value) for name, value in booked.items() if name not in ("bot", "trade_id")
        },
        "fills": [{name: _shown(value) for name, value in fill.items()} for fill in fills],
        "amount": text(reduce(EXACT.add, (row["amount"] for row in causes), Decimal(0))),
        "causes": [_cause(row) for row in causes],
        "earlier": [
            {name: _shown(row[name]) for name in ("closed_at", "qty", "pnl")}
            for row in warehouse.rows(
                "from bot_trades.previous where bot = ? and trade_id = ? order by all", [bot, trade]
            )
        ],
    }


def _assignments(warehouse: Warehouse, bot: str) -> list[dict[str, Any]]:
    """Return the assignments to this bot, and those of orders that its database names."""
    rows = warehouse.rows(
        """
        select x.account, x.is_order, x.id, x.bot, x.who, x.at, x.why
        from config.assignments x
        join config.bots b on b.account = x.account and b.bot = $bot
        where x.bot = $bot or exists (
          from causes.matched m where m.bot = $bot and m.account = x.account and m.order_id = x.id
        )
        order by x.at, x.id
        """,
        {"bot": bot},
    )
    return [
        as_shown(
            Assignment(
                Filled(row["account"], row["is_order"], row["id"]),
                *(row["bot"], row["who"], row["at"].replace(tzinfo=UTC), row["why"]),
            )
        )
        for row in rows
    ]


def _cause(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cause": row["cause"],
        "amount": text(row["amount"]),
        "session": row["session_date"].isoformat(),
        "instrument": row["instrument"],
        "says": row["says"],
    }


def _evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"bot": row["bot"], "trade": row["trade_id"], **_cause(row)}


def _shown(value: Any) -> Any:
    if isinstance(value, Decimal):
        return text(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
