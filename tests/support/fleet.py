"""A small OKX account, a bot's vault, a mapping and a recon.toml in one folder, and a night of it.

The venue is the loopback server; recon's own code runs as it is. Only ccxt's pacing is lifted: it
would spread a night's thirty requests over five seconds, and a matrix of nights over an hour.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import ccxt.async_support
import duckdb

from connectors.retry import RetryPolicy
from recon.config.settings import load
from recon.demo.venues.background import in_background
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_position import Side
from recon.demo.venues.okx_server import OkxServer
from recon.run.nightly import Night, run_night

NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)
AS_OF = date(2026, 5, 14)
SINCE = date(2026, 5, 1)
OPENING = datetime(2026, 5, 1, 1, tzinfo=UTC)
QUICK = RetryPolicy(
    request_timeout_s=1.0,
    attempts=4,
    first_wait_s=0.01,
    longest_wait_s=0.05,
    total_s=20.0,
    is_rate_limited=False,
)
BTC, ETH, SOL = "BTC-USDT-SWAP", "ETH-USDT-SWAP", "SOL-USDT-SWAP"
FACES = {BTC: Fraction(1, 100), ETH: Fraction(1, 10), SOL: Fraction(1)}
MAPPING = """
-- optional: trades(instrument)
select
  id as trade_id, coalesce(instrument, 'BTC-USDT-SWAP') as instrument, 'long' as side, null as qty,
  null as opened_at,
  closed as closed_at, null as entry_price, null as exit_price, null as gross, null as fee,
  null as funding, pnl, null::varchar[] as order_ids
from bot.trades
"""

COLUMNS = (
    "trade_id",
    "instrument",
    "side",
    "qty",
    "opened_at",
    "closed_at",
    "entry_price",
    "exit_price",
    "gross",
    "fee",
    "funding",
    "pnl",
    "order_ids",
)
WHOLE_MAPPING = f"""
select {", ".join(COLUMNS[:-1])}, string_split(order_ids, ',') as order_ids from bot.trades
"""
"""A vault that has every column of the contract, as text."""

Document = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """One account of recon.toml."""

    id: str = "okx"
    since: date = SINCE
    instrument_types: tuple[str, ...] = ("SWAP",)
    currency: str = "USDT"
    more: str = ""
    """Further lines of its [[accounts]] entry."""


@dataclass(frozen=True, slots=True)
class Trader:
    """One bot of recon.toml, and its vault: `claims` are (closed at, pnl); None is no vault.

    `trades` are rows of every column, in the place of claims; `mapping` names another than these;
    `database` is another than the vault.
    """

    id: str = "btc"
    account: str = "okx"
    instruments: tuple[str, ...] = (BTC, ETH, SOL)
    order_tag: str | None = None
    costs_booked: str = "at_close"
    claims: Sequence[tuple[datetime, str]] | None = ()
    trades: Sequence[Row] | None = None
    mapping: str = ""
    database: str | None = None
    more: str = ""


@dataclass(frozen=True, slots=True)
class Deal:
    """One fill to come: what the account is told, and what a reckoner adds up."""

    instrument: str
    side: Side
    qty: int
    price: int
    fee: Fraction
    at: datetime


def account(now: datetime = NOW) -> OkxAccount:
    """Return an account with 100,000 USDT in it since the first hour."""
    opened = OkxAccount(now=lambda: now)
    opened.deposit("USDT", 100_000, OPENING)
    return opened


def round_trips(book: OkxAccount, trips: int, *, start: datetime = OPENING) -> None:
    """Trade BTC and ETH in turn, 4 fills a trip, funding in the middle; flat after each trip."""
    for trip in range(trips):
        at = start + timedelta(hours=12 * trip + 1)
        instrument = (BTC, ETH)[trip % 2]
        price = 2_000 + 7 * trip
        book.trade(instrument, "buy", 6, price, at)
        book.trade(instrument, "buy", 4, price + 3, at + timedelta(hours=1))
        book.funding(instrument, at + timedelta(hours=2), amount="-0.125")
        book.trade(instrument, "sell", 3, price + 11, at + timedelta(hours=3))
        book.trade(instrument, "sell", 7, price + 13, at + timedelta(hours=4))


def deals(count: int, *, group: int = 1, start: datetime = OPENING) -> list[Deal]:
    """Return `count` fills over three instruments, `group` of them in each millisecond."""
    return [
        Deal(
            instrument=(BTC, ETH, SOL)[turn % 3],
            side="sell" if turn // 3 % 2 else "buy",
            qty=1 + turn // 6 % 7,
            price=1_000 + turn % 501,
            fee=Fraction(-(1 + turn % 9), 1_000),
            at=start + timedelta(hours=1, milliseconds=turn // group),
        )
        for turn in range(count)
    ]


def book_all(book: OkxAccount, plan: Sequence[Deal]) -> list[int]:
    """Trade them all; return their billIds."""
    return [
        book.trade(one.instrument, one.side, one.qty, one.price, one.at, fee=_decimal_text(one.fee))
        for one in plan
    ]


def reckoned(plan: Sequence[Deal]) -> dict[str, Fraction]:
    """Return gross, fees, net and open_costs of these fills by average cost, in fractions."""
    held: dict[str, tuple[Fraction, Fraction, Fraction]] = {}
    gross = fees = open_costs = Fraction(0)
    for one in plan:
        qty, cost, paid = held.get(one.instrument, (Fraction(0),) * 3)
        change = Fraction(one.qty if one.side == "buy" else -one.qty)
        value = change * one.price * FACES[one.instrument]
        closed = min(abs(qty), abs(change)) if qty * change < 0 else Fraction(0)
        if closed:
            share, part = closed / abs(qty), closed / abs(change)
            gross += -(value * part) - cost * share
            fees += one.fee * part + paid * share
            qty, cost, paid = qty * (1 - share), cost * (1 - share), paid * (1 - share)
            change, value = change * (1 - part), value * (1 - part)
            held[one.instrument] = (qty + change, cost + value, paid + one.fee * (1 - part))
        else:
            held[one.instrument] = (qty + change, cost + value, paid + one.fee)
    open_costs = sum((paid for _, _, paid in held.values()), Fraction(0))
    return {"gross": gross, "fees": fees, "net": gross + fees, "open_costs": open_costs}


def write_vault(
    path: Path, claims: Sequence[tuple[datetime, str]], instrument: str | None = None
) -> None:
    """Write a bot's books anew: one row a closed trade, of `instrument` where that is not BTC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as vault:
        vault.execute("create table trades (id integer primary key, closed text, pnl text)")
        vault.executemany(
            "insert into trades (closed, pnl) values (?, ?)",
            [(at.strftime("%Y-%m-%d %H:%M:%S"), pnl) for at, pnl in claims],
        )
        if instrument not in {None, BTC}:
            vault.execute(f"alter table trades add instrument text default '{instrument}'")
        vault.commit()


def write_trades(path: Path, trades: Sequence[Row]) -> None:
    """Write a bot's books anew, of every column; a column that a row lacks is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as vault:
        vault.execute(f"create table trades ({', '.join(f'{name} text' for name in COLUMNS)})")
        vault.executemany(
            f"insert into trades values ({', '.join('?' * len(COLUMNS))})",
            [[row.get(name) for name in COLUMNS] for row in trades],
        )
        vault.commit()


def write_folder(
    folder: Path, desks: Sequence[tuple[Desk, OkxServer]], bots: Sequence[Trader], settings: str
) -> Path:
    """Write recon.toml, its secrets (0600), the mapping and every vault; return recon.toml."""
    (folder / "mapping").mkdir(parents=True, exist_ok=True)
    (folder / "whole").mkdir(exist_ok=True)
    (folder / "mapping" / "trades.sql").write_text(MAPPING, encoding="utf-8")
    (folder / "whole" / "trades.sql").write_text(WHOLE_MAPPING, encoding="utf-8")
    parts = [f'[recon]\nstate = "state"\n{settings}\n']
    for desk, server in desks:
        secrets = {
            "api_key": server.api_key,
            "api_secret": server.secret,
            "passphrase": server.passphrase,
        }
        for name, value in secrets.items():
            path = folder / f"{desk.id}.{name}"
            path.write_text(value, encoding="utf-8")
            path.chmod(0o600)
        types = ", ".join(f'"{name}"' for name in desk.instrument_types)
        parts.append(
            f'[[accounts]]\nid = "{desk.id}"\nvenue = "okx"\n'
            f'mode = "{"demo" if server.demo else "live"}"\ncurrency = "{desk.currency}"\n'
            f'since = {desk.since}\ninstrument_types = [{types}]\nbase_url = "{server.url}"\n'
            + "".join(f'{name} = {{ file = "{desk.id}.{name}" }}\n' for name in secrets)
            + desk.more
        )
    for bot in bots:
        owned = ", ".join(f'"{name}"' for name in bot.instruments)
        tag = "" if bot.order_tag is None else f'order_tag = "{bot.order_tag}"\n'
        parts.append(
            f'[[bots]]\nid = "{bot.id}"\naccount = "{bot.account}"\ninstruments = [{owned}]\n'
            f'{tag}costs_booked = "{bot.costs_booked}"\n'
            f'mapping = "{bot.mapping or ("mapping" if bot.trades is None else "whole")}"\n'
            f'database = "{bot.database or f"sqlite:///vaults/{bot.id}.sqlite"}"\n{bot.more}'
        )
        if bot.trades is not None:
            write_trades(folder / "vaults" / f"{bot.id}.sqlite", bot.trades)
        elif bot.claims is not None:
            first = next(iter(bot.instruments), BTC)
            instrument = BTC if BTC in bot.instruments else first
            write_vault(folder / "vaults" / f"{bot.id}.sqlite", bot.claims, instrument)
    path = folder / "recon.toml"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def run(
    folder: Path,
    server: OkxServer,
    *,
    desk: Desk | None = None,
    bots: Sequence[Trader] = (Trader(),),
    **options: Any,
) -> Document:
    """Run one night of one account and return its document; see `run_desks`."""
    return run_desks(folder, [(desk or Desk(), server)], bots=bots, **options)


def run_desks(
    folder: Path,
    desks: Sequence[tuple[Desk, OkxServer]],
    *,
    bots: Sequence[Trader] = (),
    as_of: date | None = AS_OF,
    now: Callable[[], datetime] = lambda: NOW,
    patience: RetryPolicy = QUICK,
    settings: str = "",
    **night_options: Any,
) -> Document:
    """Write the folder and run one night over it. `night_options` are those of `Night`."""
    config = load(write_folder(folder, desks, bots, settings))
    return run_night(
        Night(
            config,
            as_of=as_of,
            now=now,
            patience=patience,
            **{"is_paging": False, **night_options},
        )
    )


@dataclass(frozen=True, slots=True)
class Case:
    """One account of a night that many cases share, and its bots."""

    book: OkxAccount
    instrument_types: tuple[str, ...] = ("SWAP",)
    bots: tuple[Trader, ...] = (Trader(),)


def shared_night(folder: Path, cases: Mapping[str, Case], **options: Any) -> dict[str, Document]:
    """Run one night of an account for each case; return each one's account, bots and breaks.

    They are by the name of the case. The bots have their own ids again; `status` is that of the
    account.
    """
    with ExitStack() as stack:
        desks = [
            (
                Desk(name, instrument_types=case.instrument_types),
                stack.enter_context(serving(case.book)),
            )
            for name, case in cases.items()
        ]
        bots = [
            replace(bot, id=f"{name}-{bot.id}", account=name)
            for name, case in cases.items()
            for bot in case.bots
        ]
        patience = replace(QUICK, request_timeout_s=20.0, total_s=120.0)  # many ask at once
        document = run_desks(folder, desks, bots=bots, patience=patience, **options)
    return {
        entry["account"]: {
            "status": entry["status"],
            "accounts": [entry],
            "bots": [
                {**bot, "bot": bot["bot"].removeprefix(f"{entry['account']}-")}
                for bot in document["bots"]
                if bot["account"] == entry["account"]
            ],
            "breaks": [one for one in document["breaks"] if one["account"] == entry["account"]],
        }
        for entry in document["accounts"]
    }


def one_night(folder: Path, book: OkxAccount, **options: Any) -> Document:
    """Serve `book`, run one night of it, and see that only reads reached the server."""
    with serving(book) as server:
        return run(folder, server, **options)


@contextmanager
def serving(book: OkxAccount, **settings: Any) -> Iterator[OkxServer]:
    """Serve an account, unthrottled, until the block ends; nothing but reads may reach it."""
    with in_background(OkxServer(book, throttle=0, **settings)) as server:
        yield server
        assert server.violations == []


@contextmanager
def unpaced() -> Iterator[None]:
    """Lift ccxt's own rate limit: a request goes out as soon as it is made."""

    async def at_once(_exchange: object, _cost: object = None) -> None:
        return None

    with mock.patch.object(ccxt.async_support.Exchange, "throttle", at_once):
        yield


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Ask the warehouse that a night left behind."""
    with duckdb.connect(str(folder / "state" / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute(query).fetchall()


def figures(document: Document) -> Document:
    """Return what a document says of money, fills, coverage and proofs; no run, no reasons."""
    parts = ("status", "window", "unowned", "netting", "proofs", "coverage")
    return {
        "status": document["status"],
        "accounts": [{key: entry[key] for key in parts} for entry in document["accounts"]],
        "bots": [
            {
                "bot": entry["bot"],
                "status": entry["status"],
                "window": {key: entry["window"][key] for key in entry["window"] if key != "causes"},
                "session": entry["session"],
            }
            for entry in document["bots"]
        ],
    }


def honest(book: OkxAccount, folder: Path, **options: Any) -> Document:
    """Return the undisturbed night of an account: what every other night is held against."""
    document = one_night(folder, book, **options)
    assert [entry["status"] for entry in document["accounts"]] == ["proven"], document
    return document


def with_claims(bot: Trader, *claims: tuple[datetime, str]) -> Trader:
    """Return the bot with other books."""
    return replace(bot, claims=claims)


def _decimal_text(value: Fraction) -> str:
    thousandths = value * 1_000
    assert thousandths.denominator == 1
    sign = "-" if thousandths < 0 else ""
    whole, rest = divmod(abs(int(thousandths)), 1_000)
    return f"{sign}{whole}.{rest:03d}"


def proof_statuses(account: Mapping[str, Any]) -> dict[str, str]:
    """Return the status of each proof of an account in a document."""
    return {name: proof["status"] for name, proof in account["proofs"].items()}
