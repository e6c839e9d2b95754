"""The loopback OKX sends every key that recorded answers of the venue have.

The recordings are not part of this project: RECON_SHARED_DATA names the folder that holds `okx/`.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recon.demo.venues.okx_account import OkxAccount, Profile, utc_now
from recon.demo.venues.okx_endpoints import ENDPOINTS, PREFIX, Asked

SHARED = os.environ.get("RECON_SHARED_DATA", "")
pytestmark = pytest.mark.skipif(not SHARED, reason="RECON_SHARED_DATA is not set")
NOW = datetime(2026, 5, 15, tzinfo=UTC)

RECORDED = [
    ("bodies.json", "trade/fills-history?instType=SPOT", "trade/fills-history", "SPOT"),
    ("bodies.json", "account/bills (spot trade, quote leg)", "account/bills", ""),
    ("bodies.json", "account/bills (transfer in)", "account/bills-archive", ""),
    ("bodies.json", "account/positions (linear, with funding)", "account/positions", ""),
    ("bodies.json", "account/positions-history", "account/positions-history", ""),
    ("bodies.json", "account/config", "account/config", ""),
    ("http_get_account_balance.json", "", "account/balance", ""),
    ("http_get_account_positions-history.json", "", "account/positions-history", ""),
    ("http_get_positions.json", "", "account/positions", ""),
    ("http_get_instruments_spot.json", "", "public/instruments", "SPOT"),
    ("http_get_instruments_swap.json", "", "public/instruments", "SWAP"),
    ("http_transaction_detail.json", "", "trade/fills", ""),
]


def recorded_rows(name: str, body: str) -> list[dict[str, Any]]:
    document = json.loads((Path(SHARED) / "okx" / name).read_text(encoding="utf-8"))
    answer = document[body] if body else document
    rows: list[dict[str, Any]] = answer.get("data", [answer])
    return rows


def served_rows(path: str, inst_type: str) -> list[dict[str, Any]]:
    account = OkxAccount(now=lambda: NOW, profile=Profile(perm="read_only"))
    account.deposit("USDT", 10_000, NOW)
    account.trade("LTC-USDT", "buy", 1, 80, NOW)
    account.trade("BTC-USDT-SWAP", "buy", 2, 50_000, NOW)
    account.trade("BTC-USDT-SWAP", "sell", 1, 51_000, NOW)
    account.funding("BTC-USDT-SWAP", NOW, rate="0.0001")
    query = {"instType": inst_type} if inst_type else {}
    return ENDPOINTS[PREFIX + path].answer(Asked(account, query, utc_now))


def missing_keys(recorded: Any, served: Any, where: str = "") -> list[str]:
    """Return the keys in `recorded`, to any depth, that `served` lacks or gives another type."""
    if isinstance(recorded, dict):
        if not isinstance(served, dict):
            return [where]
        return [
            fault
            for key, value in recorded.items()
            for fault in (
                missing_keys(value, served[key], f"{where}.{key}")
                if key in served
                else [f"{where}.{key}"]
            )
        ]
    if isinstance(recorded, list):
        if not isinstance(served, list):
            return [where]
        pairs = zip(recorded[:1], served[:1], strict=False)
        return [fault for one, other in pairs for fault in missing_keys(one, other, where)]
    return [] if type(recorded) is type(served) else [f"{where}: {type(served).__name__}"]


@pytest.mark.parametrize(("name", "body", "path", "inst_type"), RECORDED)
def test_every_row_has_the_recorded_keys(name: str, body: str, path: str, inst_type: str) -> None:
    served = served_rows(path, inst_type)
    assert served
    for recorded in recorded_rows(name, body):
        for row in served:
            assert missing_keys(recorded, row) == []
