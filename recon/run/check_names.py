"""Compare three lists of instruments: the bot's, its database's and the venue's.

The rules are those of a run, `sql/proofs/misnamed.sql`, over lists that are read beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recon.bot_databases.run_mapping import MappingAnswers
from recon.config.currencies import meant
from recon.config.settings import Account, Bot, Config
from recon.core.records import CheckItem, Listing
from recon.errors import ReconError
from recon.run.pipeline import configure_bots
from recon.run.read_published import reading
from recon.warehouse.commit import WAREHOUSE
from recon.warehouse.database import Warehouse

SHOWN = 5
"""Currencies that a message names, at most."""
CLAIMED = """
select distinct r.bot, r.instrument
from proofs.read_names r
join config.bots b on b.bot = r.bot
"""
UNLISTED = """
from (
  select account, instrument from config.owners
  union
  select b.account, c.instrument from proofs.claimed_names c join config.bots b on b.bot = c.bot
) n
semi join proofs.listed l on l.account = n.account
anti join proofs.listed l on l.account = n.account and l.instrument = n.instrument
where not regexp_full_match(n.instrument, '.*-[0-9]{6}-.*-[CP]')
"""
"""The run's own `sql/proofs/unlisted.sql`, where every listing is whole."""
Names = Mapping[str, frozenset[str]]
"""Names of instruments, by account or by bot."""


def evident_names(state: Path) -> Names | None:
    """Return the instruments that the stored evidence of each account names.

    Return None if the warehouse cannot be read now, such as while a run holds it.
    """
    if not (state / WAREHOUSE).exists():
        return {}
    found: dict[str, set[str]] = {}
    try:
        with reading(state, patience_s=0.0) as (warehouse, _):
            if warehouse.has("proofs", "named"):
                for row in warehouse.rows("from proofs.named"):
                    found.setdefault(row["account"], set()).add(row["instrument"])
    except (duckdb.Error, ReconError):
        return None
    return {account: frozenset(names) for account, names in found.items()}


def names_in(tables: MappingAnswers, since: date) -> frozenset[str]:
    """Return the instruments of trades closed, and of fills made, since a date."""
    found: set[str] = set()
    for rows, at in ((tables.trades, "closed_at"), (tables.fills, "at")):
        if rows is not None:
            days = pc.cast(rows[at], pa.date32())
            names = rows.filter(pc.greater_equal(days, pa.scalar(since)))["instrument"]
            found.update(name for name in names.to_pylist() if name)
    return frozenset(found)


def check_currency(account: Account, listing: Listing) -> CheckItem:
    """Check that the venue has the account's currency; the remedy names the likely one."""
    subject = f"currency of {account.id}"
    if not listing.currencies or account.currency in listing.currencies:
        return CheckItem(subject, account.currency, is_ok=True)
    near = meant(account.currency, listing.currencies) or sorted(listing.currencies)[:SHOWN]
    return CheckItem(
        subject,
        f'accounts.{account.id}.currency: {account.venue} has no currency "{account.currency}"',
        remedy=f"write {' or '.join(near)}",
    )


def check_names(
    config: Config, listings: Mapping[str, Listing], claimed: Names, evident: Names | None
) -> list[CheckItem]:
    """Return a check for each bot: whether its database and its venue know its instruments.

    `listings` has, by account, the instruments that the venue lists. `claimed` has the instruments
    in each readable bot database, by bot. `evident` has those in stored evidence, by account.
    """
    reasons: dict[str, list[str]] = {}
    with Warehouse(Path(":memory:")) as warehouse, warehouse.transaction():
        configure_bots(warehouse, config.accounts, config.bots)
        venues = [{"account": one.id, "venue": one.venue} for one in config.accounts]
        warehouse.store("config", "accounts", pa.Table.from_pylist(venues))
        listed = {account: listing.instruments for account, listing in listings.items()}
        _store(warehouse, "listed", "account", listed)
        _store(warehouse, "named", "account", evident or {})
        _store(warehouse, "read_names", "bot", claimed)
        _store(warehouse, "unowned_names", "account", {})
        own = dict(warehouse.queries("proofs"))
        queries = {"claimed_names": CLAIMED, "unlisted": UNLISTED}
        for name in ("claimed_names", "unlisted", "unknown", "misnamed"):
            warehouse.store("proofs", name, warehouse.arrow(queries.get(name) or own[name]))
        for row in warehouse.rows("from proofs.misnamed order by all"):
            reasons.setdefault(row["bot"], []).append(row["reason"])
    return [
        _item(bot, reasons.get(bot.id, []), listings, claimed.get(bot.id), evident)
        for bot in config.bots
    ]


def _item(
    bot: Bot,
    reasons: list[str],
    listings: Mapping[str, Listing],
    claimed: frozenset[str] | None,
    evident: Names | None,
) -> CheckItem:
    subject = f"instruments of {bot.id}"
    if reasons and evident is None:
        note = "a run holds the warehouse: check again when it ends, to see what the account traded"
        return CheckItem(subject, "; ".join(reasons), is_ok=True, notes=(note,))
    if reasons:
        return CheckItem(subject, "; ".join(reasons), remedy=f"correct bots.{bot.id}")
    others = sorted((claimed or frozenset()).difference(bot.instruments))
    notes = []
    if others and bot.order_tag is None:
        notes.append(f"its database also has trades on {', '.join(others)}, which it does not own")
    known = (evident or {}).get(bot.account)
    if bot.account not in listings and known:
        unseen = sorted(set(bot.instruments) - known)
        if unseen:
            notes.append(f"no evidence read so far names {', '.join(unseen)}")
    owned = f"it owns {len(bot.instruments)}"
    if claimed is not None:
        owned += f", its database has trades on {len(claimed)}"
    detail = "the venue lists them" if bot.account in listings else "the venue's list was not read"
    return CheckItem(subject, f"{owned}; {detail}", is_ok=True, notes=tuple(notes))


def _store(warehouse: Warehouse, name: str, key: str, names: Mapping[str, Iterable[str]]) -> None:
    rows = [{key: of, "instrument": one} for of, each in names.items() for one in sorted(each)]
    schema = pa.schema([(key, pa.string()), ("instrument", pa.string())])
    warehouse.store("proofs", name, pa.Table.from_pylist(rows, schema=schema))
