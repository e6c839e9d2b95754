"""Whatever the order in which TWS's messages come, the tables are those of one recomputation."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest

from connectors.ibkr_tws.messages import EXECUTION, happened_at
from recon.breaks.claims import keep_claims
from recon.config.settings import Bot, TwsAccount
from recon.core.calendars import NEW_YORK, calendar, window
from recon.core.records import Record
from recon.fetch.plan import Plan
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse
from tests.conftest import seeds
from tests.nights.test_increments import kept
from tests.support.servers.tws_server import FILL

DAYS = calendar("XNYS")
FIRST = date(2026, 1, 5)
LAST = FIRST + timedelta(days=30)
NOW = datetime.combine(LAST + timedelta(days=1), time(12), UTC)
ACCOUNT = TwsAccount.model_construct(
    id="tws",
    venue="ibkr-tws",
    currency="USD",
    lots="fifo",
    calendar="XNYS",
    since=FIRST,
    timezone="America/New_York",
    confirmed_by=None,
)
BOTS = [Bot.model_construct(id="owner", account="tws", order_tag=None, instruments=("AAA",))]
UNREAD = {"proofs.trades"}
"""Read of accounts alone whose venue states balances after each entry."""
Message = tuple[str, str]
"""Its kind, and the execution that it is of."""


def everything(rng: random.Random, families: int) -> dict[Message, dict[str, str]]:
    """Return what TWS will have said in the end: executions, corrections, most commissions."""
    said: dict[Message, dict[str, str]] = {}
    for number in range(families):
        day = FIRST + timedelta(days=rng.randrange(-2, 30))
        clock = rng.choice(["10:30:00", "20:19:59", "20:20:00"])
        category = rng.choices(["STK", "CASH", "BAG", "BOND"], [16, 1, 2, 1])[0]
        first = {
            **dict(zip(EXECUTION, FILL.values(), strict=False)),
            "secType": category,
            "time": f"{day:%Y%m%d} {clock}{rng.choice(['', ' US/Eastern'])}",
            "symbol": rng.choice(["AAA", "BBB"]),
            "localSymbol": "leg",
            "side": rng.choice(["BOT", "SLD"]),
            "shares": str(rng.randint(1, 9)),
            "permId": str(rng.randrange(families // 2 + 1)),
        }
        for correction in range(1, rng.choice([2, 2, 3, 4])):
            exec_id = f"0000.{number:04x}.01.{correction:02}"
            price = f"{rng.randint(50, 150)}.5" if rng.random() < 0.95 else "?"
            said["execution", exec_id] = {**first, "execId": exec_id, "price": price}
            if rng.random() < 0.85:
                fee = f"0.{rng.randint(0, 99):02}"
                said["commission", exec_id] = {
                    "execId": exec_id,
                    "commission": fee,
                    "currency": "USD",
                }
    return said


def earlier(rng: random.Random, payload: dict[str, str]) -> dict[str, str]:
    """Return what TWS said of it before it was put right."""
    wrong = rng.choice([{"price": "7"}, {"shares": ""}, {"commission": "7"}, {"symbol": "CCC"}])
    return {name: wrong.get(name, value) for name, value in payload.items()}


def night(
    warehouse: Warehouse,
    run: str,
    as_of: date,
    said: dict[Message, dict[str, str]],
    whole: dict[Message, dict[str, str]],
) -> None:
    """Land and build one night, as `recon.run.nightly` does, in one transaction."""
    records = [
        Record(
            kind,
            exec_id,
            json.dumps(payload),
            happened_at(whole["execution", exec_id]["time"], NEW_YORK),
        )
        for (kind, exec_id), payload in said.items()
    ]
    with warehouse.transaction():
        warehouse.land(run, "ibkr-tws", "tws", records, NOW)
        configure(warehouse, [(ACCOUNT, window(DAYS, FIRST, as_of), DAYS)], BOTS, NOW)
        keep_claims(warehouse, Plan(NOW.date(), (), ()), {}, {})
        build(warehouse, run, {"tws": "fifo"})


def chunks(rng: random.Random, messages: Sequence[Message]) -> list[list[Message]]:
    shuffled = rng.sample(messages, len(messages))
    size = max(1, len(shuffled) // rng.randint(2, 4))
    return [shuffled[at : at + size] for at in range(0, len(shuffled), size)]


@pytest.mark.parametrize("seed", seeds(1, 3))
def test_any_order_of_messages_is_one_full_recomputation(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    final = everything(rng, rng.choice([4, 20, 50]))
    with Warehouse(tmp_path / "nights.duckdb") as warehouse:
        wrong: list[Message] = []
        for number, part in enumerate(chunks(rng, list(final))):
            as_of = FIRST + timedelta(days=rng.randrange(31))
            first = [name for name in part if rng.random() < 0.2]
            came = {
                name: earlier(rng, final[name]) if name in first else final[name] for name in part
            }
            night(warehouse, f"run{number}", as_of, came, final)
            wrong += first
        night(warehouse, "last", LAST, {name: final[name] for name in wrong}, final)
    with Warehouse(tmp_path / "whole.duckdb") as warehouse:
        night(warehouse, "whole", LAST, final, final)
    expected = kept(tmp_path / "whole.duckdb")
    assert any(expected["lots.realised"]), "nothing was traded"
    found = kept(tmp_path / "nights.duckdb")
    for name in sorted(expected.keys() - UNREAD):
        assert found[name] == expected[name], name
    assert found.keys() == expected.keys()
