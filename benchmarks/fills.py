"""Synthetic fills, the same each time: made in SQL, so that ten million take seconds.

A thousand keys (50 accounts x 20 instruments), quantities of 0.01 to 1.00, prices of 100.00 to
199.99, fees of 0.05 % to eight places, over ten days. Three shapes:

- `flat`: sides at random, so positions cross zero again and again;
- `skew`: the same, and nine fills in ten are of one key;
- `never_flat`: each key buys 10 and then trades in pairs round it: its position never closes.

Numbers are decimal(18, 8), which is what a venue's own numbers fit in, and half as wide as the
decimal(38, 18) in which recon takes them: `BASE` is computed on the narrow ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import duckdb

Shape = Literal["flat", "skew", "never_flat"]
SHAPES: tuple[Shape, ...] = ("flat", "skew", "never_flat")
KEYS = 1_000
DAYS = 10

_KEYS_OF: dict[Shape, str] = {
    "flat": f"hash(8 * i) % {KEYS}",
    "skew": f"if(hash(8 * i + 1) % 10 < 9, 0, 1 + hash(8 * i) % {KEYS - 1})",
    "never_flat": f"i % {KEYS}",
}
_SIDES_OF: dict[Shape, str] = {
    "flat": "hash(8 * i + 2) % 2 = 0",
    "skew": "hash(8 * i + 2) % 2 = 0",
    # Turns 2j - 1 and 2j of a key are one pair: of one size, of either side, in a random order.
    "never_flat": "turn = 0 or (hash(8 * pair + 2) % 2 + turn) % 2 = 0",
}
_CENTS_OF: dict[Shape, str] = {
    "flat": "1 + hash(8 * i + 3) % 100",
    "skew": "1 + hash(8 * i + 3) % 100",
    "never_flat": "if(turn = 0, 1000, 1 + hash(8 * pair + 3) % 100)",
}

BASE = """
select account, instrument, sum(qty) as qty, sum(qty::decimal(38, 8) * price) as value,
  sum(fee) as fee
from (select * replace (if(side = 'buy', qty, -qty) as qty) from fills)
group by all
"""
"""What is compared with everywhere: the sums that any PnL needs, exact, and nothing else."""

EVENTS = """
with keys as (
  select account, instrument, multiplier::decimal(18, 8) as multiplier, is_inverse,
    (row_number() over (order by account, instrument) - 1)::integer as key,
    (dense_rank() over (order by bot) - 1)::integer as bot
  from owners
  join instruments using (instrument)
),

ordered as (
  select k.key, k.bot, f.session_date, f.at, f.seq, f.price, f.fee, k.multiplier, k.is_inverse,
    if(f.side = 'buy', f.qty, -f.qty) as qty
  from fills f
  join keys k on k.account = f.account and k.instrument = f.instrument
  order by k.key, f.session_date, f.at, f.seq
)

select
  key,
  0::tinyint as kind,
  session_date,
  "at",
  seq,
  bot,
  0::tinyint as side,
  qty::decimal(38, 18) as qty,
  price::decimal(38, 18) as price,
  multiplier::decimal(38, 18) as multiplier,
  is_inverse,
  fee::decimal(38, 18) as amount,
  0::tinyint as fee_in,
  1::decimal(38, 18) as rate
from ordered
"""
"""Raw fills as `realise_compiled` takes them: two joins by key, every fill in its key's order.

Sorted while they are narrow, widened afterwards. `seq` is the venue's own order within an instant,
and leaves no ties.
"""

TIED_EVENTS = EVENTS.replace("f.at, f.seq\n", "f.at, f.seq, f.fill_id\n")
"""The same with ties, of which there are none, broken by id: a text among the keys of the sort."""

PLAIN_EVENTS = """
select
  f.account, f.instrument, 'fill' as kind, f.fill_id as event_id, f.at, f.session_date, o.bot,
  f.position_side, if(f.side = 'buy', f.qty, -f.qty)::decimal(38, 18) as qty,
  f.price::decimal(38, 18) as price, i.multiplier, i.is_inverse,
  f.fee::decimal(38, 18) as amount, 'settlement' as fee_in, 1::decimal(38, 18) as rate
from fills f
join instruments i on i.instrument = f.instrument
join owners o on o.account = f.account and o.instrument = f.instrument
order by f.account, f.instrument, f.session_date, f.at, f.seq, f.fill_id
"""
"""The same as `recon.lots.realise.Event` has it, in its order."""


def make(path: Path, shape: Shape, count: int) -> None:
    """Write `count` fills of a shape, their instruments and their owners, into a DuckDB file."""
    with duckdb.connect(str(path)) as database:
        database.execute(
            f"""
            create table fills as
            select
              'okx-' || lpad((k // 20)::varchar, 2, '0') as account,
              'C' || lpad((k % 20)::varchar, 2, '0') || '-USDT-SWAP' as instrument,
              (2000000000000000000 + i)::varchar as fill_id,
              timestamp '2026-05-01'
                + to_milliseconds((i::hugeint * {DAYS * 86_400_000} // $count)::bigint) as "at",
              i as seq,
              "at"::date as session_date,
              if({_SIDES_OF[shape]}, 'buy', 'sell') as side,
              'net' as position_side,
              (cents * 0.01)::decimal(18, 8) as qty,
              ((10000 + hash(8 * i + 4) % 10000)::bigint * 0.01)::decimal(18, 8) as price,
              (qty::decimal(38, 8) * price * -0.0005)::decimal(18, 8) as fee
            from (
              select *, i // {KEYS} as turn, i % {KEYS} + {KEYS} * ((turn + 1) // 2) as pair,
                ({_KEYS_OF[shape]})::bigint as k, ({_CENTS_OF[shape]})::bigint as cents
              from range($count) as r(i)
            )
            order by i
            """,
            {"count": count},
        )
        database.execute(
            """
            create table instruments as
            select distinct instrument, 1::decimal(38, 18) as multiplier, false as is_inverse
            from fills
            """
        )
        database.execute(
            """
            create table owners as
            select distinct account, instrument, 'bot-' || right(account, 2) as bot from fills
            """
        )


def some_keys(source: Path, target: Path, fills: int) -> int:
    """Copy the first keys, as many as hold `fills` fills, to another DuckDB file; return how many.

    So a small set has keys as long as the whole one has. Fills of a key stay in its order.
    """
    with duckdb.connect(str(target)) as database:
        database.execute(f"attach '{source}' as source (read_only)")
        database.execute(
            """
            create table fills as
            with counted as (
              select account, instrument, count(*) as fills,
                sum(count(*)) over (order by account, instrument) as upto
              from source.fills group by account, instrument
            )
            select f.* from source.fills f
            join counted c on c.account = f.account and c.instrument = f.instrument
            where c.upto - c.fills < $fills
            order by f.account, f.instrument, f.seq
            """,
            {"fills": fills},
        )
        database.execute("create table instruments as from source.instruments")
        database.execute(
            "create table owners as from source.owners o "
            "semi join fills f on f.account = o.account and f.instrument = o.instrument"
        )
        [(count,)] = database.execute("select count(*) from fills").fetchall()
    return int(count)


def write_csv(source: Path, target: Path) -> None:
    """Write a set's fills for a peer, by key and in order, a header first.

    `closing_qty` is how much of the fill closes what its key holds: beancount and nautilus want a
    fill that goes through zero as two, and the splitting isn't counted against them. `key_number`
    and `turn` are where a fill stands in a matrix of keys and turns, for vectorbt.
    """
    with duckdb.connect(str(source), read_only=True) as database:
        database.execute(
            f"""
            copy (
              with held as (
                select *, if(side = 'buy', qty, -qty) as signed_qty,
                  sum(signed_qty) over one - signed_qty as before_qty,
                  dense_rank() over (order by account, instrument) - 1 as key_number,
                  row_number() over one - 1 as turn
                from fills
                window one as (partition by account, instrument order by seq)
              )
              select account || '/' || instrument as key, fill_id, side, qty, price, fee,
                if(before_qty * sign(signed_qty) < 0, least(abs(before_qty), qty), 0)
                  ::decimal(18, 8) as closing_qty,
                key_number, turn
              from held
              order by key_number, turn
            ) to '{target}' (header)
            """
        )
