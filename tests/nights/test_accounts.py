"""Random accounts through the loopback venue and a whole night, every number held to the reckoner.

Two tagged bots, an owner and nobody trade linear contracts in net mode, or long and short sides,
or an inverse contract settled in coin; funding comes while they hold. What each is due is reckoned
in fractions, an owner at a time.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from recon.demo.venues.okx_account import OkxAccount, Profile
from recon.demo.venues.okx_position import PositionSide
from tests.conftest import seeds
from tests.support.fleet import (
    AS_OF,
    BTC,
    ETH,
    FACES,
    NOW,
    OPENING,
    SOL,
    Desk,
    Trader,
    proof_statuses,
    run_desks,
    serving,
)
from tests.support.reckoner import Fill, Funding, Outcome, Reckoner

INVERSE = "BTC-USD-SWAP"
Key = tuple[str, PositionSide]
PLACES = Fraction(1, 10**14)
"""What a night's figures may differ by where funding was shared out, or coin was divided."""


@dataclass
class Ledger:
    """What one owner is due: a reckoner an instrument and side, and what each gave."""

    inverse: bool
    books: dict[Key, Reckoner] = field(default_factory=dict)
    realised: list[tuple[datetime, Outcome]] = field(default_factory=list)
    paid: Fraction = Fraction(0)

    def book(self, key: Key) -> Reckoner:
        face = Fraction(100) if self.inverse else FACES[key[0]]
        terms = {"multiplier": face, "is_inverse": self.inverse, "is_rounding": False}
        return self.books.setdefault(key, Reckoner("average", **terms))  # type: ignore[arg-type]

    def held(self, instrument: str) -> dict[Key, Fraction]:
        return {
            key: book.position
            for key, book in self.books.items()
            if key[0] == instrument and book.position
        }

    def trade(self, at: datetime, key: Key, fill: Fill) -> None:
        self.paid += fill.fee
        self.realised.append((at, self.book(key).fill(fill)))

    def fund(self, at: datetime, key: Key, amount: Fraction) -> None:
        self.paid += amount
        self.realised.append((at, self.books[key].fund(Funding(amount))))

    def total(self, since: datetime | None = None) -> dict[str, Fraction]:
        mine = [outcome for at, outcome in self.realised if since is None or at >= since]
        gross = sum((one.gross for one in mine), Fraction(0))
        fees = sum((one.fees for one in mine), Fraction(0))
        funding = sum((one.funding for one in mine), Fraction(0))
        return {"gross": gross, "fees": fees, "funding": funding, "net": gross + fees + funding}


@dataclass
class Story:
    """One random account: the venue's side of it, and what each owner is due."""

    rng: random.Random
    mode: Literal["net", "sides", "inverse"]
    account: OkxAccount = field(init=False)
    owners: dict[str | None, Ledger] = field(init=False)
    whole: Ledger = field(init=False)

    def __post_init__(self) -> None:
        pos_mode = "long_short_mode" if self.mode == "sides" else "net_mode"
        self.account = OkxAccount(now=lambda: NOW, profile=Profile(pos_mode=pos_mode))
        inverse = self.mode == "inverse"
        self.account.deposit("BTC" if inverse else "USDT", 1_000_000, OPENING)
        self.owners = defaultdict(lambda: Ledger(inverse))
        self.whole = Ledger(inverse)

    def play(self, events: int) -> None:
        span = NOW - timedelta(hours=3) - OPENING
        for turn in range(events):
            at = OPENING + timedelta(milliseconds=int(span.total_seconds() * 1000 * turn / events))
            at += timedelta(hours=1)
            instrument = INVERSE if self.mode == "inverse" else self.rng.choice([BTC, ETH, SOL])
            if self.rng.random() < 0.2:
                self.fund(instrument, at)
            else:
                self.trade(instrument, at)

    def trade(self, instrument: str, at: datetime) -> None:
        tag, owner = self.rng.choice(
            [("aaa1", "a"), ("bbb2", "b"), ("", "owner" if instrument == SOL else None)]
        )
        side: PositionSide = "net"
        qty = self.rng.choice([-7, -3, -1, 1, 2, 5])
        if self.mode == "sides":
            side = self.rng.choice(["long", "short"])
            held = self.whole.book((instrument, side)).position
            is_opening = abs(held) < abs(qty) or self.rng.random() < 0.5
            qty = abs(qty) if (side == "long") == is_opening else -abs(qty)
            owner_book = self.owners[owner].book((instrument, side)).position
            if not is_opening and abs(owner_book) < abs(qty):
                return  # nobody closes on a side what is not theirs
        price = Fraction(self.rng.randint(200_000, 300_000), 10)
        fee = Fraction(self.rng.randint(-900, 90), 10**4)
        self.account.trade(
            instrument,
            "buy" if qty > 0 else "sell",
            abs(qty),
            f"{float(price):.1f}",
            at,
            fee=f"{float(fee):.4f}",
            cl_ord_id=tag,
            pos_side=side,
        )
        fill = Fill(Fraction(qty), price, fee)
        self.owners[owner].trade(at, (instrument, side), fill)
        self.whole.trade(at, (instrument, side), fill)

    def fund(self, instrument: str, at: datetime) -> None:
        held = self.whole.held(instrument)
        total = sum(held.values(), Fraction(0))
        if not total:
            return
        amount = Fraction(self.rng.randint(-5_000, 3_000), 1_000)
        side = next(iter(held))[1]
        self.account.funding(instrument, at, amount=f"{float(amount):.3f}", pos_side=side)
        for ledger in (self.whole, *self.owners.values()):
            for key, qty in ledger.held(instrument).items():
                ledger.fund(at, key, amount * qty / total)


Mode = Literal["net", "sides", "inverse"]


class Played(NamedTuple):
    """A story, and what a night says of its account and bots."""

    story: Story
    account: dict[str, Any]
    bots: list[dict[str, Any]]


def night(stories: Mapping[Mode, Story], folder: Path) -> dict[Mode, Played]:
    """Run one night of all these accounts, each with bots of its own."""
    with ExitStack() as stack:
        desks = [
            (
                Desk(id=mode, currency="BTC" if mode == "inverse" else "USDT"),
                stack.enter_context(serving(story.account)),
            )
            for mode, story in stories.items()
        ]
        bots = [
            trader
            for mode in stories
            for trader in (
                Trader(id=f"{mode}-a", account=mode, instruments=(), order_tag="aaa"),
                Trader(id=f"{mode}-b", account=mode, instruments=(), order_tag="bbb"),
                Trader(id=f"{mode}-owner", account=mode, instruments=(SOL,)),
            )
        ]
        document = run_desks(folder, desks, bots=bots)
    entries = {entry["account"]: entry for entry in document["accounts"]}
    return {
        mode: Played(
            story, entries[mode], [bot for bot in document["bots"] if bot["account"] == mode]
        )
        for mode, story in stories.items()
    }


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, Mode], Played]:
    """Give a story by its seed and mode: those of one seed share a night."""

    @cache
    def tonight(seed: int) -> dict[Mode, Played]:
        stories = {mode: Story(random.Random(f"{mode}{seed}"), mode) for mode in MODES}
        for story in stories.values():
            story.play(60)
        return night(stories, tmp_path_factory.mktemp("stories"))

    return lambda seed, mode: tonight(seed)[mode]


MODES: tuple[Mode, ...] = ("net", "sides", "inverse")


@pytest.mark.parametrize("seed", seeds(2, 6))
@pytest.mark.parametrize("mode", MODES)
def test_every_number_is_the_reckoner_s(
    seed: int, mode: Mode, played: Callable[[int, Mode], Played]
) -> None:
    story, account, bots = played(seed, mode)
    assert account["status"] == "proven", account["reasons"]
    assert proof_statuses(account) == dict.fromkeys(
        ("positions", "cash", "broker_pnl", "equity"), "closed"
    )
    as_of_start = datetime.combine(AS_OF, OPENING.timetz()) - timedelta(hours=1)
    assert len(bots) == 3
    for bot in bots:
        ledger = story.owners[bot["bot"].removeprefix(f"{mode}-")]
        same(bot["window"]["broker"], ledger.total() | {"open_costs": open_costs(ledger)})
        same(bot["session"]["broker"], ledger.total(as_of_start))
    same(account["window"], story.whole.total() | {"open_costs": open_costs(story.whole)})
    assert close(account["unowned"]["net"], story.owners[None].total()["net"])
    parts = [bot["window"]["broker"]["net"] for bot in bots]
    parts += [account["unowned"]["net"], account["netting"]]
    assert sum(map(Decimal, parts), Decimal(0)) == Decimal(account["window"]["net"])


def open_costs(ledger: Ledger) -> Fraction:
    total = ledger.total()
    return ledger.paid - total["fees"] - total["funding"]


def same(shown: dict[str, str], reckoned: dict[str, Fraction]) -> None:
    for name, amount in reckoned.items():
        assert close(shown[name], amount), (name, shown[name], float(amount))


def close(shown: str, amount: Fraction) -> bool:
    return abs(Fraction(shown) - amount) <= PLACES
