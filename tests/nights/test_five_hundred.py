"""Of 500 fills and all the entries of their ledger, any one lost, doubled or altered is noticed.

A hundred accounts of one random life lie in one warehouse, each proven. A round disturbs one record
in each of them, builds what that touches, as a night does, and takes it all back. Each run disturbs
a hundred records, chosen anew, in every way; the rounds that disturb all of them are slow.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recon.config.settings import OkxAccount
from recon.core.calendars import calendar, window
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse
from tests.conftest import drawn
from tests.support.fleet import AS_OF, NOW, SINCE, Desk, Trader, one_night, proof_statuses
from tests.support.random_histories import TYPES, Life

FILLS = 500
AT_ONCE = 100
NAMES = [f"account{number:03}" for number in range(AT_ONCE)]
LATER = NOW + timedelta(hours=1)
UNPROVEN = """
select account from proofs.positions
union select account from proofs.cash
union select account from proofs.broker_pnl where not is_closed
union select account from proofs.equity where not is_closed
union select account from proofs.findings
union select account from evidence.quarantine
"""
CHANGED = pa.schema([(name, pa.string()) for name in ("account", "id", "of", "payload")])
Row = dict[str, Any]
Disturb = Callable[[random.Random, str, Row], Row | None]
"""Returns what stands in a record's place, under its own id or a new one; None is nothing."""


class TakenBack(Exception):
    pass


class Hundred:
    """The warehouse with its hundred accounts."""

    def __init__(self, folder: Path) -> None:
        life = Life(drawn("five hundred"))
        life.live(FILLS)
        document = one_night(folder, life.book, desk=Desk(instrument_types=TYPES), bots=(Trader(),))
        assert document["accounts"][0]["status"] == "proven", document["accounts"][0]["reasons"]
        assert set(proof_statuses(document["accounts"][0]).values()) == {"closed"}
        self.warehouse = Warehouse(folder / "state" / "warehouse.duckdb")
        with self.warehouse.transaction():
            self._copy()
            self.build("base")
        self.runs = 0

    def _copy(self) -> None:
        for table in ("records", "latest_state", "coverage"):
            name = ", 'base' as run" if table != "latest_state" else ""
            self.warehouse.run(
                f"insert into raw.{table} by name select r.* replace (n.name as account{name}) "
                f"from raw.{table} r, (select unnest($names) as name) n where r.account = 'okx'",
                {"names": NAMES},
            )

    def build(self, run: str) -> None:
        days = calendar(None)
        accounts = [
            OkxAccount.model_construct(
                id=name,
                venue="okx",
                currency="USDT",
                lots="average",
                calendar=None,
                instrument_types=TYPES,
                since=SINCE,
            )
            for name in NAMES
        ]
        stretch = window(days, SINCE, AS_OF)
        configure(self.warehouse, [(one, stretch, days) for one in accounts], [], NOW)
        self.warehouse.land(run, "okx", NAMES[0], [], LATER)
        build(self.warehouse, run, dict.fromkeys(NAMES, "average"))

    def unproven(self) -> set[str]:
        return {row["account"] for row in self.warehouse.rows(UNPROVEN)}

    def records(self, kind: str) -> list[tuple[str, Row]]:
        rows = self.warehouse.rows(
            'select id, payload from raw.records where account = ? and kind = ? and "at" >= ? '
            "order by id",
            [NAMES[0], kind, SINCE],
        )
        return [(row["id"], json.loads(row["payload"])) for row in rows]

    def disturbed(self, kind: str, changes: Sequence[tuple[str, Row | None]]) -> set[str]:
        """Return the accounts that are unproven after each has had one change."""
        self.runs += 1
        found: set[str] = set()
        try:
            with self.warehouse.transaction():
                self._change(f"run{self.runs}", kind, changes)
                self.build(f"run{self.runs}")
                found = self.unproven()
                raise TakenBack
        except TakenBack:
            return found

    def _change(self, run: str, kind: str, changes: Sequence[tuple[str, Row | None]]) -> None:
        """Land one version of one record in each account: another payload, or none."""
        rows = [
            {
                "account": name,
                "id": identity if row is None else str(row["billId"]),
                "of": identity,
                "payload": None if row is None else json.dumps(row),
            }
            for name, (identity, row) in zip(NAMES, changes, strict=False)
        ]
        with self.warehouse.registered("changed", pa.Table.from_pylist(rows, schema=CHANGED)):
            self.warehouse.run(
                """
                insert into raw.records
                select r.* replace (
                  c.id as id, case when c.id = c.of then r.version + 1 else 1 end as version,
                  c.payload as payload, sha256(c.payload) as sha256, $run as run, $at as fetched_at
                )
                from raw.records r
                join changed c on c.account = r.account and c.of = r.id
                where r.kind = $kind
                """,
                {"run": run, "at": LATER.replace(tzinfo=None), "kind": kind},
            )


def lost(_rng: random.Random, _kind: str, _row: Row) -> Row | None:
    return None


def doubled(_rng: random.Random, _kind: str, row: Row) -> Row | None:
    return {**row, "billId": str(int(row["billId"]) + 10**9)}


def altered(rng: random.Random, kind: str, row: Row) -> Row | None:
    """A figure of it is another: by a tenth, or by a hundred-thousandth where it is nothing."""
    names = ("fillSz", "fillPx", "fillPnl", "fee") if kind == "fill" else ("bal", "balChg")
    name = rng.choice(
        [one for one in names if row["instType"] not in ("SPOT", "MARGIN") or one != "fillPnl"]
    )
    value = (
        f"{row[name]}1" if "." in row[name] and len(row[name]) < 9 else f"1{row[name].lstrip('-')}"
    )
    return {**row, name: value}


@pytest.fixture(scope="module")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hundred]:
    made = Hundred(tmp_path_factory.mktemp("hundred"))
    with made.warehouse:
        yield made


def test_undisturbed_each_is_proven(hundred: Hundred) -> None:
    assert hundred.unproven() == set()


@pytest.mark.parametrize("disturb", [lost, doubled, altered], ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", ["fill", "bill"])
def test_any_one_of_a_hundred_is_noticed(hundred: Hundred, kind: str, disturb: Disturb) -> None:
    chosen = drawn(f"{kind} to be {disturb.__name__}").sample(hundred.records(kind), AT_ONCE)
    notice(hundred, kind, disturb, chosen)


@pytest.mark.slow
@pytest.mark.parametrize("disturb", [lost, doubled], ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", ["fill", "bill"])
def test_any_one_of_all_is_noticed(hundred: Hundred, kind: str, disturb: Disturb) -> None:
    records = hundred.records(kind)
    assert len(records) >= FILLS
    notice(hundred, kind, disturb, records)


def notice(
    hundred: Hundred, kind: str, disturb: Disturb, records: Sequence[tuple[str, Row]]
) -> None:
    """Disturb each of these records in an account of its own, which must be noticed."""
    rng = drawn(f"{kind}{disturb.__name__}")
    for begin in range(0, len(records), AT_ONCE):
        some = records[begin : begin + AT_ONCE]
        changes = [(identity, disturb(rng, kind, row)) for identity, row in some]
        found = hundred.disturbed(kind, changes)
        missed = [one for name, one in zip(NAMES, some, strict=False) if name not in found]
        assert not missed, (disturb.__name__, missed[0])
