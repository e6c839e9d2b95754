"""What goes in and what comes out, as Arrow tables, and the codes that stand in them."""

from __future__ import annotations

import pyarrow as pa

from recon.core.numbers import PLACES

MONEY = pa.decimal128(38, PLACES)
EVENTS = pa.schema(
    [
        ("key", pa.int32()),
        ("kind", pa.int8()),
        ("session_date", pa.date32()),
        ("at", pa.timestamp("us")),
        ("seq", pa.int64()),
        ("bot", pa.int32()),
        ("side", pa.int8()),
        ("qty", MONEY),
        ("price", MONEY),
        ("multiplier", MONEY),
        ("is_inverse", pa.bool_()),
        ("amount", MONEY),
        ("fee_in", pa.int8()),
        ("rate", MONEY),
    ]
)
"""One event a row, ordered by key, session_date, at and seq, as `realise.Event` has it.

`key` numbers account and instrument, ascending; `seq` says which of two events at one instant was
first, and where it doesn't, the key is handed over, as the plain kernel's order has the event's id,
too; `kind` is 0 for a fill, 1 funding, 2 a fee, 3 other cash; `bot` -1 is nobody; `side` 0 is net,
1 long, 2 short; `fee_in` 0 is the settlement currency, 1 base, 2 unknown, 3 the account's. Null may
be: qty, price, multiplier, is_inverse, rate. A key is handed over as well where anything of another
kind happened to it, and where something of it cannot be valued.
"""
REALISED = pa.schema(
    [
        ("key", pa.int32()),
        ("scope", pa.int8()),
        ("bot", pa.int32()),
        ("session_date", pa.date32()),
        ("fills", pa.int64()),
        ("closed_qty", MONEY),
        ("gross", MONEY),
        ("fees", MONEY),
        ("funding", MONEY),
        ("other", MONEY),
        ("open_costs", MONEY),
    ]
)
"""`realise.SessionPnl`, in its order; `scope` 0 is bot, 1 account, whose `bot` is -1."""
BOOKS = pa.schema(
    [
        ("key", pa.int32()),
        ("book", pa.int32()),
        ("scope", pa.int8()),
        ("bot", pa.int32()),
        ("side", pa.int8()),
        ("session_date", pa.date32()),
        ("qty", MONEY),
        ("cost", MONEY),
        ("funding", MONEY),
        ("first_lot", pa.int64()),
        ("is_inverse", pa.bool_()),
        ("multiplier", MONEY),
        ("rate", MONEY),
        ("is_valued", pa.bool_()),
    ]
)
"""`realise.ClosingBook`."""
LOTS = pa.schema(
    [
        ("key", pa.int32()),
        ("book", pa.int32()),
        ("lot", pa.int64()),
        ("session_date", pa.date32()),
        ("qty", MONEY),
        ("value", MONEY),
        ("fee", MONEY),
        ("consumed", MONEY),
    ]
)
"""`realise.ClosingLot`."""

AVERAGE, FIFO = 0, 1
FILL, FUNDING, FEE, OTHER_CASH = 0, 1, 2, 3
BOT, ACCOUNT = 0, 1
NOBODY = -1
BASE, UNKNOWN, IN_ACCOUNT = 1, 2, 3
