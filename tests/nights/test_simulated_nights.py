"""Many nights of a fleet, with faults drawn from a seed: venue, channel, power, kills.

What is true of each night is reckoned beside it, in fractions. However the nights fall: no bot is
ever told to agree that does not, or to diverge that agrees; what there was to page has arrived; and
every session has been published, once.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import typing
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recon.config.settings import load
from recon.control.ledger import CONTROL, Ledger
from recon.demo.venues.okx_faults import Fault, FaultKind
from recon.demo.venues.okx_server import OkxServer
from recon.paging.channels import recipients
from recon.paging.delivery import deliver
from tests.conftest import seeds
from tests.nights.test_faults import ENDPOINTS
from tests.support.fleet import BTC, ETH, FACES, SINCE, Desk, Trader, account, serving, write_folder
from tests.support.killed_run import STEPS, Death, night_in_a_process
from tests.support.servers.channels import (
    Behaviour,
    Receiver,
    flaky,
    loses_the_reply,
    receiver,
    says,
)

LIVES = int(os.environ.get("RECON_LIVES", "1"))
NIGHTS = 8
DAY = timedelta(days=1)
BOTS = {"btc": BTC, "eth": ETH}
KINDS: tuple[FaultKind, ...] = typing.get_args(FaultKind)
TOLERANCE = Fraction(1)
FEE = Decimal("-0.05")
BEHAVIOURS: Sequence[Behaviour] = (says(200), says(500), says(302), loses_the_reply)


@dataclass
class World:
    """One account, two bots, their books, a pager, and what each bot earned and claims by day."""

    seed: int
    folder: Path
    server: OkxServer
    pager: Receiver
    day: date = SINCE
    earned: dict[tuple[str, date], Fraction] = field(default_factory=dict)
    claims: dict[str, list[tuple[datetime, str]]] = field(default_factory=dict)
    claimed: dict[tuple[str, date], Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.claims = {bot: [] for bot in BOTS}

    @property
    def night(self) -> datetime:
        """When the night of this day is run."""
        return datetime.combine(self.day + DAY, datetime.min.time(), UTC) + timedelta(hours=2)

    def live(self) -> None:
        """Trade for a day; now and then a bot books something else than it earned."""
        for bot, instrument in BOTS.items():
            total = claimed = Fraction(0)
            for trip in range(self.chance.randint(0, 3)):
                at = datetime.combine(self.day, datetime.min.time(), UTC)
                at += timedelta(hours=3 + 5 * trip, minutes=self.chance.randint(0, 59))
                qty, price, gain = (
                    self.chance.randint(*each) for each in ((1, 9), (900, 1200), (-40, 60))
                )
                trade, later = self.server.account.trade, at + timedelta(hours=2)
                trade(instrument, "buy", qty, price, at, fee=FEE)
                trade(instrument, "sell", qty, price + gain, later, fee=FEE)
                net = qty * FACES[instrument] * gain + 2 * Fraction(FEE)
                lie = (
                    Fraction(0)
                    if self.chance.random() < 0.9
                    else Fraction(self.chance.randint(2, 90))
                )
                total, claimed = total + net, claimed + net + lie
                text = f"{float(net + lie):.2f}"
                self.claims[bot].append((later, text))
            self.earned[bot, self.day], self.claimed[bot, self.day] = total, claimed

    def run(self, death: Death) -> int:
        """Call the night as cron does."""
        self.server.account.now = lambda: self.night
        return night_in_a_process(self.config, self.night, death)

    @property
    def config(self) -> Path:
        bots = [Trader(name, "okx", (own,), claims=self.claims[name]) for name, own in BOTS.items()]
        channels = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n'
        (self.folder).mkdir(exist_ok=True)
        (self.folder / "pager").write_text(self.pager.webhook)
        (self.folder / "pager").chmod(0o600)
        return write_folder(self.folder, [(Desk(), self.server)], bots, channels)

    def send(self, at: datetime) -> None:
        """Call `recon page send`."""
        config = load(self.config)
        if (config.state / CONTROL).exists():
            with Ledger(config.state / CONTROL) as ledger:
                deliver(
                    config.state,
                    ledger,
                    recipients(config.paging),
                    lambda: at,
                    lambda _: None,
                    deadline_s=10,
                )

    def off(self, bot: str, as_of: date, since: date = SINCE) -> bool:
        """Whether a bot is off by more than is tolerated, from a day through a session."""
        days = [since + timedelta(days=n) for n in range((as_of - since).days + 1)]
        truth = sum((self.earned[bot, day] for day in days), Fraction(0))
        amount = abs(sum((self.claimed[bot, day] for day in days), Fraction(0)) - truth)
        return amount > max(TOLERANCE, abs(truth) / 200)


def disturbed(world: World) -> Death:
    """Draw what goes wrong tonight, at venue and channel; return where the night dies."""
    world.server.clear_faults()
    world.pager.answer = world.chance.choice([*BEHAVIOURS, flaky(world.seed)])
    if world.chance.random() < 0.4:
        kind = world.chance.choice(
            [one for one in KINDS if "hang" not in one and "drip" not in one]
        )
        times = world.chance.choice([1, 2, None])
        world.server.fault(world.chance.choice(ENDPOINTS), Fault(kind, times=times))
    if world.chance.random() < 0.25:
        return Death(at_step=world.chance.choice(STEPS))
    return Death()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeds(1, 1))
def test_whatever_befalls_many_nights_what_is_told_is_true_and_arrives(
    seed: int, tmp_path: Path
) -> None:
    with serving(account()) as server, receiver(says(200)) as pager:
        world = World(seed, tmp_path / "fleet", server, pager)
        for _ in range(NIGHTS):
            world.live()
            if world.chance.random() < 0.15:  # the machine is off
                world.day += DAY
                continue
            status = world.run(disturbed(world))
            assert status in {0, -9}, (seed, world.day, log(world))
            for hours in (1, 5, 9):
                pager.answer = world.chance.choice(BEHAVIOURS)
                world.send(world.night + timedelta(hours=hours))
            world.day += DAY
        world.live()
        server.clear_faults()
        pager.answer = says(200)
        assert world.run(Death()) == 0, (seed, log(world))
        for hours in (1, 2):
            world.send(world.night + timedelta(hours=hours))
        judge(world)


def judge(world: World) -> None:
    """Hold everything that was ever told against what was true."""
    with closing(sqlite3.connect(world.folder / "state" / CONTROL)) as ledger:
        runs = ledger.execute("select document from runs where document is not null").fetchall()
        sessions = ledger.execute("select session, run from sessions order by 1").fetchall()
        keys = {key for (key,) in ledger.execute("select key from incidents")}
        opened = ledger.execute(
            "select j.who, b.bot from journal j join breaks b on b.break = j.subject "
            "where j.act in ('open', 'reopen')"
        ).fetchall()
        waiting = ledger.execute("select 1 from messages where settled_at is null").fetchall()
    for (text,) in runs:
        document: dict[str, Any] = json.loads(text)
        as_of = date.fromisoformat(document["as_of"])
        for bot in document["bots"]:
            is_off = world.off(bot["bot"], as_of) or world.off(bot["bot"], as_of, as_of)
            said = (world.seed, as_of, bot)
            assert bot["status"] != "agreed" or not is_off, said
            assert bot["status"] != "diverged" or is_off, said
    last = json.loads(runs[-1][0])
    assert [entry["status"] for entry in last["accounts"]] == ["proven"], (world.seed, last)
    assert {bot["status"] for bot in last["bots"]} <= {"agreed", "diverged"}, (world.seed, last)
    first = date.fromisoformat(sessions[0][0])
    every = [first + timedelta(days=n) for n in range((world.day - first).days + 1)]
    assert [session for session, _ in sessions] == [day.isoformat() for day in every], world.seed
    assert all(run for _, run in sessions), (world.seed, sessions)
    assert len({run for _, run in sessions}) == len(sessions), (world.seed, sessions)
    assert waiting == [], world.seed
    taken: dict[str, str] = {}
    for one in world.pager.took:
        taken[one["key"]] = taken.get(one["key"], "") + one["message"]
    assert keys <= set(taken), world.seed
    for who, bot in opened:
        run = who.removeprefix("run ")
        [message] = [said for key, said in taken.items() if key.endswith(run)]
        assert f"{bot} (okx) DIVERGED" in message, (world.seed, who, bot)


def log(world: World) -> str:
    return (world.folder / "night.log").read_text(encoding="utf-8")[-3000:]
