"""OKX's realised PnL is the sum of its parts, on every recorded position, to the last digit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recon.system.resources import sql_root

SHARED = os.environ.get("RECON_SHARED_DATA", "")
pytestmark = pytest.mark.skipif(not SHARED, reason="RECON_SHARED_DATA is not set")
PARTS = ("pnl", "fee", "fundingFee", "liqPenalty", "settledPnl")
INVENTED = "12345"
"""The posId of an example that was made up: its fee is no part of its realizedPnl."""


def positions() -> Iterator[dict[str, Any]]:
    for path in sorted((Path(SHARED) / "okx").glob("*.json")):
        answer = json.loads(path.read_text(encoding="utf-8"))
        bodies = [answer] if "data" in answer else list(answer.values())
        for body in bodies:
            rows = body.get("data", []) if isinstance(body, dict) else []
            yield from (row for row in rows if "realizedPnl" in row)


def test_it_is_the_sum_of_its_parts() -> None:
    real = [row for row in positions() if row["posId"] != INVENTED]
    assert len(real) >= 4
    for row in real:
        parts = sum((Decimal(row.get(name) or 0) for name in PARTS), Decimal(0))
        assert parts == Decimal(row["realizedPnl"]), row["instId"]


def test_the_closed_ones_are_what_their_prices_say_to_the_venue_s_rounding() -> None:
    """A contract's face is pnl over quantity and price; the venue's floats keep twelve digits."""
    for row in positions():
        if row["posId"] == INVENTED or "closeAvgPx" not in row:
            continue
        gain = Decimal(row["closeAvgPx"]) - Decimal(row["openAvgPx"])
        gain = gain if row["direction"] == "long" else -gain
        face = Decimal(row["pnl"]) / (gain * Decimal(row["closeTotalPos"]))
        assert abs(face - face.quantize(Decimal("0.01"))) < Decimal("1e-9"), row["instId"]
        assert face >= Decimal("0.01")


def test_sql_reads_the_parts_as_they_are() -> None:
    with duckdb.connect() as db:
        db.execute((sql_root() / "macros.sql").read_text(encoding="utf-8"))
        for row in positions():
            for name in PARTS:
                value = row.get(name)
                found = db.execute("select exact($v), is_unreadable($v)", {"v": value}).fetchone()
                assert found == (Decimal(value) if value else None, False)
