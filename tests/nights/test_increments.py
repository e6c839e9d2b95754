"""Whatever the order in which evidence comes, the tables are those of one full recomputation."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recon.breaks.claims import keep_claims
from recon.config.settings import Bot, OkxAccount
from recon.core.calendars import calendar, window
from recon.core.records import Coverage, Record
from recon.fetch.plan import Plan
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse
from tests.conftest import seeds

FIRST = date(2026, 5, 1)
DAYS = 8
START = datetime(2026, 5, 1, tzinfo=UTC)
NOW = START + timedelta(days=DAYS + 1)
KEPT = ("evidence", "lots", "pnl", "proofs")
INSTRUMENTS = {"BTC-USDT-SWAP": "0.01", "ETH-USDT-SWAP": "0.1", "XRP-USDT-SWAP": "100"}
ACCOUNTS = {
    name: OkxAccount.model_construct(
        id=name,
        venue="okx",
        currency="USDT",
        lots=lots,
        calendar=None,
        instrument_types=("SWAP",),
        since=FIRST,
    )
    for name, lots in (("first", "average"), ("second", "fifo"))
}
BOTS = [
    Bot.model_construct(id="tagged", account="first", order_tag="t", instruments=()),
    Bot.model_construct(
        id="owner", account="first", order_tag=None, instruments=("BTC-USDT-SWAP",)
    ),
    Bot.model_construct(
        id="other", account="second", order_tag=None, instruments=("ETH-USDT-SWAP",)
    ),
]
Name = tuple[str, str, str]
"""Account, kind, id."""


@dataclass
class World:
    """What the venue knows in the end, and what it said before it knew better."""

    rng: random.Random
    final: dict[Name, dict[str, Any]] = field(default_factory=dict)
    gone: set[Name] = field(default_factory=set)

    def fill_up(self, trades: int) -> None:
        for number in range(trades):
            account = self.rng.choice(list(ACCOUNTS))
            at = START + timedelta(minutes=self.rng.randrange(-60, DAYS * 1440))
            if self.rng.random() < 0.3:
                at = at.replace(hour=self.rng.choice([0, 23]), minute=self.rng.choice([0, 59]))
            self.trade(account, 1000 + number, at)

    def trade(self, account: str, number: int, at: datetime) -> None:
        instrument = self.rng.choice(list(INSTRUMENTS))
        terms = {
            "instId": instrument,
            "instType": "SWAP",
            "ts": ms(at),
            "tradeId": str(number),
            "fee": f"-0.{self.rng.randint(0, 999):03}",
        }
        size, price = str(self.rng.randint(1, 9)), f"{self.rng.randint(50, 150)}.5"
        if self.rng.random() < 0.1:
            self.close(account, number, instrument, at)
            return
        if self.rng.random() < 0.1:  # a settlement, a side of a conversion
            bill_type = self.rng.choice(["34", "4"])
            self.final[account, "bill", str(number)] = {
                "instId": instrument if bill_type == "34" else "",
                "instType": "",
                "ts": terms["ts"],
                "ccy": self.rng.choice(["USDT", "BTC"]),
                "type": bill_type,
                "bal": str(number),
                "balChg": f"{self.rng.randint(-90, 90)}.25",
            }
            return
        if self.rng.random() < 0.2:  # funding, and at times interest of no instrument
            is_funding = self.rng.random() < 0.7
            self.final[account, "bill", str(number)] = {
                "instId": instrument if is_funding else "",
                "instType": "",
                "ts": terms["ts"],
                "ccy": "USDT",
                "type": "8" if is_funding else "7",
                "bal": str(number),
                "balChg": f"{self.rng.randint(-90, 90)}.25",
            }
            return
        self.final[account, "fill", str(number)] = {
            **terms,
            "side": self.rng.choice(["buy", "sell"]),
            "fillSz": size,
            "fillPx": price,
            "feeCcy": "USDT",
            "clOrdId": self.rng.choice(["", "t1", "zzz"]),
            "posSide": "net",
            "fillPnl": "0",
        }
        if self.rng.random() < 0.95:
            self.final[account, "bill", str(number)] = {
                **terms,
                "ccy": "USDT",
                "type": "2",
                "sz": size,
                "px": price,
                "pnl": "0",
                "balChg": terms["fee"],
                "bal": str(number),
            }

    def close(self, account: str, number: int, instrument: str, at: datetime) -> None:
        """Have the venue state a closed position, whether or not its fills are there."""
        opened = at - timedelta(minutes=self.rng.choice([0, 5, 300, 4000]))
        self.final[account, "position-history", str(number)] = {
            "instId": instrument,
            "posSide": "net",
            "ts": ms(at),
            "uTime": ms(at),
            "cTime": ms(opened),
            "closeTotalPos": "3",
            "type": self.rng.choice(["1", "2", "3"]),
            "pnl": "4",
            "fee": "-1",
            "fundingFee": "0",
            "liqPenalty": "",
            "settledPnl": "",
            "realizedPnl": self.rng.choice(["3", "2"]),
        }

    def earlier(self, name: Name) -> dict[str, Any]:
        """Return what the venue said of a record before it put it right."""
        row = dict(self.final[name])
        wrong: Sequence[dict[str, str]] = [
            {"fee": "-7"},
            {"instId": "ETH-USDT-SWAP"},
            {"ts": row["ts"][:-7] + "0000000"},
            {"fillSz": "3", "sz": "3"},
            {"fee": "?", "balChg": "?"},
            {"ccy": "USDC"},
            {"cTime": row.get("cTime", "0")[:-8] + "00000000", "balChg": "7"},
        ]
        row.update({k: v for k, v in self.rng.choice(wrong).items() if k in row})
        return row


def ms(at: datetime) -> str:
    return str(int(at.timestamp()) * 1000)


def record(name: Name, row: dict[str, Any]) -> Record:
    at = datetime.fromtimestamp(int(row["ts"]) // 1000, UTC)
    return Record(name[1], name[2], json.dumps(row), at)


def standing() -> list[Record | Coverage]:
    rows = [
        {
            "instId": name,
            "instType": "SWAP",
            "ctVal": face,
            "ctMult": "1",
            "ctType": "linear",
            "settleCcy": "USDT",
        }
        for name, face in INSTRUMENTS.items()
    ]
    return [Record("instrument", row["instId"], json.dumps(row)) for row in rows]


def night(
    warehouse: Warehouse,
    run: str,
    as_of: date,
    records: Iterable[tuple[str, Record]],
    *,
    accounts: Sequence[str] = tuple(ACCOUNTS),
    gone: Iterable[Name] = (),
    bots: Sequence[Bot] = tuple(BOTS),
) -> None:
    """Land and build one night, as `recon.run.nightly` does, in one transaction."""
    came = list(records)
    days = calendar(None)
    plans = [(ACCOUNTS[name], window(days, FIRST, as_of), days) for name in accounts]
    with warehouse.transaction():
        for name in accounts:
            items = [*standing(), *(row for account, row in came if account == name)]
            warehouse.land(run, "okx", name, items, NOW)
        for account, kind, number in gone:
            warehouse.run(
                """
                insert into raw.records
                select * replace (
                  version + 1 as version, null as payload, null as sha256, $run as run,
                  $at as fetched_at
                )
                from raw.latest
                where account = $account and kind = $kind and id = $id and payload is not null
                """,
                {
                    "run": run,
                    "at": NOW.replace(tzinfo=None),
                    "account": account,
                    "kind": kind,
                    "id": number,
                },
            )
        configure(warehouse, plans, [bot for bot in bots if bot.account in accounts], NOW)
        keep_claims(warehouse, Plan(NOW.date(), (), ()), {}, {})
        build(warehouse, run, {name: ACCOUNTS[name].lots for name in accounts})


def kept(path: Path) -> dict[str, list[str]]:
    """Return every row of every table that nights keep, in no order."""
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


def arrive(world: World, path: Path, nights: int) -> None:
    """Let what the world knows come over some nights, in any order, wrong first at times."""
    rng = world.rng
    waiting = list(world.final)
    rng.shuffle(waiting)
    to_correct: list[Name] = []
    to_bury: list[Name] = []
    with Warehouse(path) as warehouse:
        for number in range(nights):
            as_of = FIRST + timedelta(days=rng.randrange(DAYS))
            some = tuple(ACCOUNTS) if rng.random() < 0.7 else (rng.choice(list(ACCOUNTS)),)
            arriving = [n for n in waiting if n[0] in some][: rng.randrange(len(world.final) // 3)]
            waiting = [name for name in waiting if name not in arriving]
            came: dict[Name, Record] = {}
            for name in arriving:
                is_wrong = rng.random() < 0.2
                came[name] = record(name, world.earlier(name) if is_wrong else world.final[name])
                to_correct += [name] * is_wrong
            mended = [
                n for n in to_correct if n not in came and n[0] in some and rng.random() < 0.4
            ]
            came |= {name: record(name, world.final[name]) for name in mended}
            to_correct = [name for name in to_correct if name not in mended]
            if rng.random() < 0.3:  # something that was never there, and is taken back
                ghost = (some[0], "fill", str(5000 + number))
                row = next(r for n, r in world.final.items() if n[1] == "fill")
                came[ghost] = record(ghost, row)
                to_bury.append(ghost)
            buried = [n for n in to_bury if n not in came and n[0] in some and rng.random() < 0.4]
            to_bury = [name for name in to_bury if name not in buried]
            asked: Any = {"accounts": some, "gone": buried}
            rows = [(name[0], row) for name, row in came.items()]
            if rng.random() < 0.2:
                interrupted(warehouse, f"run{number}x", as_of, rows, asked)
            night(warehouse, f"run{number}", as_of, rows, **asked)
        left = {name: record(name, world.final[name]) for name in [*waiting, *to_correct]}
        rows = [(name[0], row) for name, row in left.items()]
        night(warehouse, "last", FIRST + timedelta(days=DAYS - 1), rows, gone=to_bury)


def interrupted(
    warehouse: Warehouse, run: str, as_of: date, rows: list[tuple[str, Record]], asked: Any
) -> None:
    """Begin a night that ends at its last step, with everything undone."""
    with suppress(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("recon.run.pipeline._audit", _stop)
        night(warehouse, run, as_of, rows, **asked)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("seed", seeds(1, 5))
def test_any_order_of_arrivals_is_one_full_recomputation(seed: int, tmp_path: Path) -> None:
    world = World(random.Random(seed))
    world.fill_up(world.rng.choice([8, 40, 120]))
    arrive(world, tmp_path / "nights.duckdb", nights=world.rng.randint(2, 5))
    with Warehouse(tmp_path / "whole.duckdb") as warehouse:
        rows = [(name[0], record(name, row)) for name, row in world.final.items()]
        night(warehouse, "whole", FIRST + timedelta(days=DAYS - 1), rows)
    expected = kept(tmp_path / "whole.duckdb")
    assert any(expected["lots.realised"]), "nothing was traded"
    assert kept(tmp_path / "nights.duckdb") == expected


def known(seed: int) -> tuple[list[tuple[str, Record]], list[tuple[str, Record]]]:
    """Return what the venue told of a world in two nights."""
    world = World(random.Random(seed))
    world.fill_up(60)
    rows = [(name[0], record(name, row)) for name, row in world.final.items()]
    return rows[:40], rows[40:]


LAST = FIRST + timedelta(days=DAYS - 1)


def test_another_release_makes_everything_again(tmp_path: Path) -> None:
    """Also of an account that its first night leaves out, and in the transaction that drops it."""
    early, late = known(1)
    with Warehouse(tmp_path / "nights.duckdb") as warehouse:
        night(warehouse, "one", LAST, early)
        warehouse.run(
            "update raw.build_fingerprints set fingerprint = 'earlier' where account = ''"
        )
        night(warehouse, "two", LAST, [], accounts=("first",))
        night(warehouse, "three", LAST, late)
    with Warehouse(tmp_path / "whole.duckdb") as warehouse:
        night(warehouse, "whole", LAST, [*early, *late])
    assert kept(tmp_path / "nights.duckdb") == kept(tmp_path / "whole.duckdb")


def test_other_settings_make_their_account_again(tmp_path: Path) -> None:
    early, late = known(2)
    moved = [
        *BOTS[:2],
        Bot.model_construct(
            id="other", account="second", order_tag="t", instruments=("XRP-USDT-SWAP",)
        ),
    ]
    with Warehouse(tmp_path / "nights.duckdb") as warehouse:
        night(warehouse, "one", LAST, early)
        night(warehouse, "two", LAST, late, bots=moved)
    with Warehouse(tmp_path / "whole.duckdb") as warehouse:
        night(warehouse, "whole", LAST, [*early, *late], bots=moved)
    assert kept(tmp_path / "nights.duckdb") == kept(tmp_path / "whole.duckdb")


def test_a_large_night_runs_in_the_compiled_kernel_and_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = known(3)
    for name, size in (("compiled", 0), ("plain", 10**9)):
        monkeypatch.setattr("recon.warehouse.lot_state.WORTH_COMPILING", size)
        with Warehouse(tmp_path / f"{name}.duckdb") as warehouse:
            night(warehouse, "one", LAST - timedelta(days=3), early)
            night(warehouse, "two", LAST, late)
    assert kept(tmp_path / "compiled.duckdb") == kept(tmp_path / "plain.duckdb")
