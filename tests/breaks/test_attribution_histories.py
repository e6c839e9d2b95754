"""Random histories of bots that share instruments, compared with a slow, simple model."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recon.breaks.claims import keep_claims
from recon.config.settings import Bot, OkxAccount
from recon.control.assignments import Assignment, Filled
from recon.core.calendars import calendar, window
from recon.core.records import Record
from recon.fetch.plan import Plan
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse
from tests.conftest import seeds

FIRST, DAYS = date(2026, 5, 1), 6
START = datetime(2026, 5, 1, tzinfo=UTC)
NOW = START + timedelta(days=DAYS + 1)
KEPT = ("evidence", "lots", "pnl", "proofs")
FACES = {"BTC-USDT-SWAP": Fraction(1, 100), "ETH-USDT-SWAP": Fraction(1, 10)}
ACCOUNT = OkxAccount.model_construct(
    id="okx",
    venue="okx",
    currency="USDT",
    lots="average",
    calendar=None,
    instrument_types=("SWAP",),
    since=FIRST,
)
TAGS = {"alpha": "a", "alphax": "ax", "beta": "b"}
OWNED = {"owner": "ETH-USDT-SWAP"}
BOTS = [
    Bot.model_construct(
        id=name,
        account="okx",
        order_tag=TAGS.get(name),
        instruments=(OWNED[name],) if name in OWNED else (),
    )
    for name in (*TAGS, *OWNED)
]


@dataclass
class Life:
    """The history of an account: fills in order, orders at the venue, and assignments."""

    rng: random.Random
    fills: list[dict[str, str]] = field(default_factory=list)
    orders: dict[str, dict[str, str]] = field(default_factory=dict)
    assigned: dict[str, str | None] = field(default_factory=dict)

    def play(self, count: int) -> None:
        """Trade for tagged bots, by their stops, for the owner of an instrument, by hand."""
        at = START
        for number in range(count):
            at += timedelta(minutes=self.rng.randrange(1, DAYS * 1440 // count))
            repeated = bool(self.fills and self.fills[-1]["ordId"]) and self.rng.random() < 0.1
            order = self.fills[-1]["ordId"] if repeated else str(5_000 + number)
            client, algo = self.rng.choice(
                [
                    ("a1", ""),
                    ("ax1", ""),
                    ("b1", ""),
                    ("", "a1sl"),
                    ("", "b1sl"),
                    ("zz", "ax1sl"),
                    ("", ""),
                    ("hand", ""),
                ]
            )
            known = self.orders.get(order, {"clOrdId": client, "algoClOrdId": algo})
            instrument = self.fills[-1]["instId"] if repeated else self.rng.choice(list(FACES))
            self.orders[order] = {
                "ordId": order,
                "instId": instrument,
                "cTime": str(ms(at) - 100),
                "state": "filled",
                "tag": "",
                "algoId": "",
                "source": "",
                "category": "normal",
                **known,
            }
            has_order = self.rng.random() < 0.95
            self.fills.append(
                {
                    "billId": str(9_000 + number),
                    "instId": instrument,
                    "instType": "SWAP",
                    "ts": str(ms(at)),
                    "tradeId": str(number),
                    "ordId": order if has_order else "",
                    "clOrdId": self.orders[order]["clOrdId"] if has_order else "",
                    "side": self.rng.choice(["buy", "sell"]),
                    "fillSz": str(self.rng.randint(1, 4)),
                    "fillPx": str(self.rng.randint(50, 150)),
                    "fee": f"-0.{self.rng.randint(0, 99):02}",
                    "feeCcy": "USDT",
                    "posSide": "net",
                    "fillPnl": "0",
                    "subType": "1",
                }
            )
        names = [one["ordId"] or one["billId"] for one in self.fills]
        for name in self.rng.sample(names, count // 8):
            self.assigned[name] = self.rng.choice([*TAGS, *OWNED, None])


def ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


def said(life: Life, assigned: Mapping[str, str | None]) -> list[Assignment]:
    orders = {one["ordId"] for one in life.fills}
    return [
        Assignment(Filled("okx", name in orders, name), bot, "ann", NOW, "so it is")
        for name, bot in assigned.items()
    ]


def night(
    warehouse: Warehouse,
    run: str,
    life: Life,
    fills: Sequence[dict[str, str]],
    orders: Sequence[dict[str, str]],
    assigned: Mapping[str, str | None],
) -> None:
    """Land and build one run, as `recon.run.nightly` does, in one transaction."""
    items = [
        Record(
            "instrument",
            name,
            json.dumps(
                {
                    "instId": name,
                    "instType": "SWAP",
                    "ctVal": str(float(face)),
                    "ctMult": "1",
                    "ctType": "linear",
                    "settleCcy": "USDT",
                }
            ),
        )
        for name, face in FACES.items()
    ]
    items += [Record("fill", one["billId"], json.dumps(one), when(one["ts"])) for one in fills]
    items += [Record("order", one["ordId"], json.dumps(one), when(one["cTime"])) for one in orders]
    days = calendar(None)
    last = FIRST + timedelta(days=DAYS)
    with warehouse.transaction():
        warehouse.land(run, "okx", "okx", items, NOW)
        plans = [(ACCOUNT, window(days, FIRST, last), days)]
        configure(warehouse, plans, BOTS, NOW, assignments=said(life, assigned))
        keep_claims(warehouse, Plan(NOW.date(), (), ()), {}, {})
        build(warehouse, run, {"okx": "average"})


def when(text: str) -> datetime:
    return datetime.fromtimestamp(int(text) // 1000, UTC)


def owner(fill: Mapping[str, str], life: Life, known: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return a fill's owner and the rule: assignment, tag, instrument, none, or unknown."""
    name = fill["ordId"] or fill["billId"]
    if name in life.assigned:
        return life.assigned[name], "person"
    order = known.get(fill["ordId"], {})
    written = [fill["clOrdId"], order.get("clOrdId", ""), order.get("algoClOrdId", "")]
    fits = [(len(tag), bot) for bot, tag in TAGS.items() if any(w.startswith(tag) for w in written)]
    if fits:
        return max(fits)[1], "tag"
    if fill["ordId"] and not order:
        return None, "doubt"
    bot = next((bot for bot, name in OWNED.items() if name == fill["instId"]), None)
    return bot, "instrument" if bot else "nothing"


def reckon(life: Life, known: Mapping[str, Any]) -> tuple[set[str], dict[Any, Fraction]]:
    """Return the unproven bots, and the final position of each owner and of the account."""
    held: dict[Any, Fraction] = defaultdict(Fraction)
    doubted: set[str] = set()
    for fill in life.fills:
        bot, by = owner(fill, life, known)
        instrument = fill["instId"]
        if by in ("nothing", "doubt"):
            doubted |= {one for one in (*TAGS, *OWNED) if held[one, instrument]}
        if by == "doubt":
            doubted |= {*TAGS, *(one for one, name in OWNED.items() if name == instrument)}
        qty = Fraction(fill["fillSz"]) * (1 if fill["side"] == "buy" else -1)
        held[bot, instrument] += qty
        held["the account", instrument] += qty
    return doubted, held


def kept(path: Path) -> dict[str, list[str]]:
    with duckdb.connect(str(path), read_only=True) as warehouse:
        names = warehouse.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where list_contains($schemas, schema_name)",
            {"schemas": list(KEPT)},
        ).fetchall()
        return {
            name: sorted(map(repr, warehouse.execute(f"from {name}").fetchall()))
            for (name,) in names
        }


@pytest.mark.parametrize("seed", seeds(2, 3))
def test_owners_of_fills_and_unproven_bots_equal_the_model(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    life = Life(rng)
    life.play(rng.randrange(10, 50))
    orders = [one for one in life.orders.values() if seed % 2 or rng.random() < 0.9]
    known = {one["ordId"]: one for one in orders}
    with Warehouse(tmp_path / "nights") as warehouse:
        for number in range(2):  # in any order, repeated, and with other assignments between
            some = [one for one in life.fills if rng.random() < 0.4]
            theirs = [one | {"state": "live"} for one in orders if rng.random() < 0.4]
            guessed = {name: rng.choice(["beta", None]) for name in rng.sample([*life.assigned], 1)}
            night(warehouse, f"{number}", life, some, theirs, guessed)
        night(warehouse, "last", life, life.fills, orders, life.assigned)
    with Warehouse(tmp_path / "fresh") as warehouse:
        night(warehouse, "only", life, life.fills, orders, life.assigned)
        doubted, held = reckon(life, known)
        reasons = warehouse.rows("from proofs.unassigned")
        assert {row["bot"] for row in reasons} == doubted
        books = warehouse.rows(
            "select scope, bot, instrument, qty from lots.closing_books "
            "where until_session = date '9999-12-31'"
        )
        for row in books:
            name = "the account" if row["scope"] == "account" else row["bot"]
            assert Fraction(row["qty"]) == held[name, row["instrument"]], row
        for name in FACES:
            owners = [bot for bot, instrument in held if instrument == name]
            parts = sum(held[bot, name] for bot in owners if bot != "the account")
            assert parts == held["the account", name]
    assert kept(tmp_path / "nights") == kept(tmp_path / "fresh")
