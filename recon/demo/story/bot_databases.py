"""The bots' own books, as files: a vault of one's own with its mapping, and freqtrade's database.

Numbers are handed to SQLite as text; the columns' affinity makes REAL of them, as the bots do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from recon.demo.story.round_trips import TAKER, Order, RoundTrip

OWN_TABLE = """
create table trades (
  id integer primary key,
  symbol text not null,
  side text not null,
  size real not null,
  opened_at text not null,
  closed_at text not null,
  entry_price real,
  exit_price real,
  pnl real not null,
  order_ids text not null
)
"""

OWN_MAPPING = """\
-- The closed trades of a bot that writes a vault of its own, with record_trade().
-- Grain: one row a closed trade, or a part of one. Key: trade_id.
-- requires: trades(id, symbol, side, size, opened_at, closed_at, entry_price, exit_price)
-- requires: trades(pnl, order_ids)
--
-- A mapping is a folder of such queries over the schema `bot`, the snapshot of the bot's tables.
-- pnl is the number that the bot shows its operator, as it is: whether a fee was ever subtracted is
-- not for the mapping to say. The vault keeps no fee and no funding: null, which is not 0.
select
  id::varchar as trade_id,
  symbol as instrument,
  side,
  size as qty,
  opened_at,
  closed_at,
  entry_price,
  exit_price,
  null as gross,
  null as fee,
  null as funding,
  pnl,
  string_split(order_ids, ',') as order_ids
from bot.trades
"""

# Columns and types as freqtrade creates them (SQLAlchemy, SQLite), without indices.
FREQTRADE_TRADES = """
create table trades (
  id integer not null primary key, exchange varchar(25) not null, pair varchar(25) not null,
  base_currency varchar(25), stake_currency varchar(25), is_open boolean not null,
  fee_open float not null, fee_open_cost float, fee_open_currency varchar(25),
  fee_close float, fee_close_cost float, fee_close_currency varchar(25),
  open_rate float not null, open_rate_requested float, open_trade_value float,
  close_rate float, close_rate_requested float, realized_profit float, close_profit float,
  close_profit_abs float, stake_amount float not null, max_stake_amount float, amount float,
  amount_requested float, open_date datetime not null, close_date datetime,
  exit_reason varchar(255), exit_order_status varchar(100), strategy varchar(100),
  enter_tag varchar(255), timeframe integer, trading_mode varchar(7),
  amount_precision float, price_precision float, precision_mode integer, contract_size float,
  leverage float, is_short boolean not null, liquidation_price float, interest_rate float,
  funding_fees float, funding_fee_running float
)
"""
FREQTRADE_ORDERS = """
create table orders (
  id integer not null primary key, ft_trade_id integer not null references trades (id),
  ft_order_side varchar(25) not null, ft_pair varchar(25) not null, ft_is_open boolean not null,
  ft_amount float not null, ft_price float not null, ft_cancel_reason varchar(255),
  order_id varchar(255) not null, status varchar(255), symbol varchar(25),
  order_type varchar(50), side varchar(25), price float, average float, amount float,
  filled float, remaining float, cost float, stop_price float, order_date datetime,
  order_filled_date datetime, order_update_date datetime, funding_fee float, ft_fee_base float,
  ft_order_tag varchar(255),
  constraint _order_pair_order_id unique (ft_pair, order_id)
)
"""

Value = str | int | None


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One row of a vault of one's own."""

    symbol: str
    side: str
    size: Decimal
    opened_at: datetime
    closed_at: datetime
    entry_price: Decimal
    exit_price: Decimal
    pnl: Decimal
    order_ids: tuple[str, ...]


def write_own_vault(path: Path, rows: Iterable[TradeRow]) -> None:
    """Write a vault of the bot's own making. Its times are naive, and UTC."""
    with closing(sqlite3.connect(path)) as vault, vault:
        vault.execute(OWN_TABLE)
        for row in rows:
            _insert(
                vault,
                "trades",
                {
                    "symbol": row.symbol,
                    "side": row.side,
                    "size": str(row.size),
                    "opened_at": _naive(row.opened_at),
                    "closed_at": _naive(row.closed_at),
                    "entry_price": str(row.entry_price),
                    "exit_price": str(row.exit_price),
                    "pnl": str(row.pnl),
                    "order_ids": ",".join(row.order_ids),
                },
            )


def write_freqtrade(
    path: Path, trips: Sequence[RoundTrip], *, strategy: str, books_funding: bool
) -> None:
    """Write a freqtrade database. Without `books_funding` its funding column is 0.0 throughout.

    That is freqtrade's own way with a funding history that it could not read: an error becomes 0.0.
    """
    with closing(sqlite3.connect(path)) as vault, vault:
        vault.execute(FREQTRADE_TRADES)
        vault.execute(FREQTRADE_ORDERS)
        for number, trip in enumerate(trips, 1):
            funding = trip.funding_paid if books_funding else Decimal(0)
            _insert(vault, "trades", _freqtrade_trade(number, trip, strategy, funding))
            for order in trip.orders:
                _insert(vault, "orders", _freqtrade_order(number, trip, order))


def _freqtrade_trade(
    number: int, trip: RoundTrip, strategy: str, funding: Decimal
) -> Mapping[str, Value]:
    base, quote, _ = trip.instrument.split("-")
    entry, fee_open = trip.entry, -trip.entry.fee
    stake = entry.value / LEVERAGE
    row: dict[str, Value] = {
        "id": number,
        "exchange": "okx",
        "pair": f"{base}/{quote}:{quote}",
        "base_currency": base,
        "stake_currency": quote,
        "is_open": int(trip.exit is None),
        "fee_open": str(TAKER),
        "fee_open_cost": str(fee_open),
        "fee_open_currency": quote,
        "fee_close": str(TAKER),
        "open_rate": str(entry.average),
        "open_rate_requested": str(entry.fills[0].price),
        "open_trade_value": str(entry.value + (-fee_open if trip.is_short else fee_open)),
        "realized_profit": "0.0",
        "stake_amount": str(stake),
        "max_stake_amount": str(stake),
        "amount": str(entry.qty),
        "amount_requested": str(entry.qty),
        "open_date": _naive(trip.opened_at),
        "strategy": strategy,
        "enter_tag": "short" if trip.is_short else "long",
        "timeframe": 60,
        "trading_mode": "FUTURES",
        "leverage": str(LEVERAGE),
        "is_short": int(trip.is_short),
        "interest_rate": "0.0",
        "funding_fees": str(funding),
        "contract_size": "1.0",
    }
    if trip.exit is not None:
        row |= _freqtrade_close(trip, trip.exit, trip.gross + trip.fees + funding, stake)
    return row


def _freqtrade_close(
    trip: RoundTrip, closing_order: Order, profit: Decimal, stake: Decimal
) -> Mapping[str, Value]:
    return {
        "fee_close_cost": str(-closing_order.fee),
        "fee_close_currency": trip.instrument.split("-")[1],
        "close_rate": str(closing_order.average),
        "close_rate_requested": str(closing_order.fills[0].price),
        "close_profit": str(profit / stake),
        "close_profit_abs": str(profit),
        "realized_profit": str(profit),
        "close_date": _naive(closing_order.fills[-1].at),
        "exit_reason": "exit_signal" if profit > 0 else "stop_loss",
        "exit_order_status": "closed",
    }


def _freqtrade_order(number: int, trip: RoundTrip, order: Order) -> Mapping[str, Value]:
    base, quote, _ = trip.instrument.split("-")
    placed_at = order.fills[0].at - timedelta(milliseconds=120)
    return {
        "ft_trade_id": number,
        "ft_order_side": order.side,
        "ft_pair": f"{base}/{quote}:{quote}",
        "ft_is_open": 0,
        "ft_amount": str(order.qty),
        "ft_price": str(order.fills[0].price),
        "order_id": order.venue_id,
        "status": "closed",
        "symbol": f"{base}/{quote}:{quote}",
        "order_type": "market",
        "side": order.side,
        "price": str(order.average),
        "average": str(order.average),
        "amount": str(order.qty),
        "filled": str(order.qty),
        "remaining": "0.0",
        "cost": str(order.value),
        "order_date": _naive(placed_at),
        "order_filled_date": _naive(order.fills[-1].at),
        "order_update_date": _naive(order.fills[-1].at),
    }


def _insert(vault: sqlite3.Connection, table: str, row: Mapping[str, Value]) -> None:
    marks = ", ".join("?" * len(row))
    vault.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", tuple(row.values()))


def _naive(at: datetime) -> str:
    """Write an instant as the bots do: UTC, without saying so."""
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


LEVERAGE = Decimal(3)
