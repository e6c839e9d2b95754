"""Nights and what persons say in between: what pages, what counts, what is shown for ever."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.control.ledger import Ledger
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_server import OkxServer
from recon.errors import ExitCode
from recon.system.state_folder import locked_state
from tests.support.fleet import (
    AS_OF,
    BTC,
    NOW,
    OPENING,
    Document,
    Trader,
    account,
    run,
    serving,
    unpaced,
)

DAY = timedelta(days=1)
EARLY = OPENING + 3 * DAY
TONIGHT = NOW - DAY + timedelta(hours=7)


FirstNight = Callable[[str], tuple[Path, Document]]


@dataclass
class Desk:
    """One account on which btc trades +100.00 in all, its vault, and persons at the keyboard."""

    folder: Path
    server: OkxServer
    book: OkxAccount
    capsys: pytest.CaptureFixture[str]
    first: FirstNight
    claims: list[tuple[datetime, str]] = field(default_factory=lambda: [(EARLY, "100.00")])
    settings: str = ""
    later: timedelta = timedelta()

    def begin(self, claim: str) -> Document:
        """Go on from a first night, in which btc claimed so much more than it had earned."""
        self.claims.append((EARLY, claim))
        folder, document = self.first(claim)
        shutil.copytree(folder, self.folder, dirs_exist_ok=True)
        return deepcopy(document)

    def night(self, later: int = 0, *, back: int = 0, **options: Any) -> Document:
        """Run the night of `later` days on, or of `back` days before it, paging."""
        self.later = timedelta(days=later)
        self.book.now = lambda: NOW + self.later
        return run(
            self.folder,
            self.server,
            bots=[Trader(claims=options.pop("claims", self.claims))],
            as_of=AS_OF + self.later - timedelta(days=back),
            now=lambda: NOW + self.later,
            is_paging=True,
            settings=self.settings,
            **options,
        )

    def said(self, *arguments: str, status: ExitCode = ExitCode.AGREED) -> dict[str, Any]:
        """Type one command; return the document that it prints."""
        self.capsys.readouterr()
        command = [*arguments, "--json", "--config", str(self.folder / "recon.toml")]
        assert run_cli(command) == status
        said = self.capsys.readouterr().out
        return dict(json.loads(said)) if said else {}

    def acknowledge(self, document: Document) -> None:
        for item in document["breaks"]:
            self.said("ack", item["break"][:6], "--note", "known")

    def sign_off(self, *more: str) -> dict[str, Any]:
        day = str(AS_OF + self.later)
        command = ("sign-off", "btc", "--as-of", day, "--reason", "an old sin", *more)
        return dict(self.said(*command)["sign_off"])


def traded() -> OkxAccount:
    book = account()
    book.trade(BTC, "buy", 10, 2_000, EARLY, fee=0)
    book.trade(BTC, "sell", 10, 3_000, EARLY, fee=0)
    return book


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstNight:
    """Give the folder of a first night with one claim too many, and its document."""

    @cache
    def played(claim: str) -> tuple[Path, Document]:
        folder = tmp_path_factory.mktemp("first")
        bot = Trader(claims=[(EARLY, "100.00"), (EARLY, claim)])
        with serving(traded()) as server, unpaced():
            return folder, run(folder, server, bots=[bot], is_paging=True)

    return played


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], first: FirstNight) -> Iterator[Desk]:
    book = traded()
    with serving(book) as server, unpaced():
        yield Desk(tmp_path, server, book, capsys, first)


def bot(document: Document) -> dict[str, Any]:
    [entry] = document["bots"]
    return dict(entry)


def test_what_is_acknowledged_and_no_worse_does_not_page_again(desk: Desk) -> None:
    first = desk.begin("5.00")
    assert (first["status"], len(first["pages"])) == ("diverged", 1)
    assert len(desk.night()["pages"]) == 1
    desk.acknowledge(first)
    for night in (0, 1):
        document = desk.night(night)
        assert (document["status"], document["pages"]) == ("diverged", [])
        assert [item["status"] for item in document["breaks"]] == ["acknowledged"]
    again = ("run", "--no-fetch", "--no-page", "--as-of", str(AS_OF + DAY))
    assert desk.said(*again, status=ExitCode.DIVERGED)["status"] == "diverged"
    desk.claims.append((EARLY, "1.01"))
    worse = desk.night(2)
    assert [page["title"] for page in worse["pages"]] == ["recon 2026-05-16: DIVERGED btc"]
    assert [item["status"] for item in worse["breaks"]] == ["open"]


def test_another_break_of_the_same_bot_pages_all_the_same(desk: Desk) -> None:
    desk.acknowledge(desk.begin("5.00"))
    desk.claims += [(TONIGHT + DAY, "3.00"), (EARLY, "-3.00")]
    document = desk.night(1)
    assert [(one["kind"], one["status"]) for one in document["breaks"]] == [
        ("session", "open"),
        ("window", "acknowledged"),
    ]
    assert len(document["pages"]) == 1


def test_an_acknowledged_break_of_books_that_cannot_be_read_pages(desk: Desk) -> None:
    desk.acknowledge(desk.begin("5.00"))
    (desk.folder / "vaults" / "btc.sqlite").unlink()
    document = desk.night(claims=None)
    assert [page["title"] for page in document["pages"]] == ["recon 2026-05-14: UNPROVEN btc"]
    assert [item["status"] for item in document["breaks"]] == ["acknowledged"]


def test_what_was_signed_off_stops_counting_and_is_shown_for_ever(desk: Desk) -> None:
    assert desk.begin("500.00")["status"] == "diverged"
    done = desk.sign_off("--by", "anna")
    assert (done["amount"], done["counts"], done["signers"]) == ("500.00", True, ["anna"])
    for later in (0, 1, 7):
        document = desk.night(later)
        assert (document["status"], document["breaks"], document["pages"]) == ("agreed", [], [])
        assert bot(document)["window"]["divergence"] == "500.00"
        assert bot(document)["signed_off"] == {
            "amount": "500.00",
            "beyond": "0",
            "as_of": "2026-05-14",
            "by": "anna",
            "reason": "an old sin",
        }
    explained = desk.said("explain", "btc", "--as-of", str(AS_OF + 7 * DAY))
    assert (explained["status"], explained["window"]["divergence"]) == ("agreed", "500.00")
    [gone] = desk.said("breaks", "--all")["breaks"]
    assert "beyond what anna signed off as of 2026-05-14" in gone["last_action"]["reason"]


def test_what_comes_on_top_of_it_counts(desk: Desk) -> None:
    desk.begin("500.00")
    desk.sign_off()
    desk.claims.append((EARLY, "1.00"))
    assert desk.night(1)["status"] == "agreed"  # exactly at the tolerance
    desk.claims.append((EARLY, "0.01"))
    document = desk.night(1)
    assert document["status"] == "diverged"
    assert (bot(document)["window"]["divergence"], bot(document)["signed_off"]["beyond"]) == (
        "501.01",
        "1.01",
    )
    assert [item["divergence"] for item in document["breaks"]] == ["1.01"]


def test_evidence_that_changes_under_a_sign_off_counts_again(desk: Desk) -> None:
    desk.begin("500.00")
    desk.sign_off()
    desk.book.trade(BTC, "buy", 10, 2_000, NOW - 2 * DAY, fee=0)
    desk.book.trade(BTC, "sell", 10, 2_300, NOW - 2 * DAY, fee=0)
    document = desk.night(1)
    assert [row["moved"] for row in document["restatements"] if row["bot"]] == ["30.00"]
    assert (document["status"], bot(document)["signed_off"]["beyond"]) == ("diverged", "-30.00")


def test_the_session_s_own_difference_is_signed_with_it_and_no_other_session_s(
    desk: Desk,
) -> None:
    for at in (TONIGHT, TONIGHT + DAY):
        desk.book.trade(BTC, "buy", 1, 2_000, at, fee=0)
        desk.book.trade(BTC, "sell", 1, 2_000, at, fee=0)
    desk.claims.append((TONIGHT, "500.00"))
    assert {item["kind"] for item in desk.night()["breaks"]} == {"window", "session"}
    desk.sign_off()
    assert desk.night()["status"] == "agreed"
    desk.claims += [(TONIGHT + DAY, "9.00"), (EARLY, "-9.00")]
    assert [item["kind"] for item in desk.night(1)["breaks"]] == ["session"]


def test_a_session_before_it_is_told_as_it_was(desk: Desk) -> None:
    desk.begin("500.00")
    desk.sign_off()
    back = desk.night(back=1)
    assert (back["status"], bot(back)["signed_off"]) == ("diverged", None)


def test_where_two_have_to_sign_one_is_not_enough(desk: Desk) -> None:
    desk.claims.append((EARLY, "500.00"))
    desk.settings = "sign_off_by = 2"
    desk.night()
    assert desk.sign_off("--by", "anna")["counts"] is False
    assert desk.night()["status"] == "diverged"
    day = ("--as-of", str(AS_OF), "--reason", "again")
    desk.said("sign-off", "btc", *day, "--by", "anna", status=ExitCode.USAGE)
    assert desk.night()["status"] == "diverged"
    assert desk.sign_off("--by", "ben")["counts"] is True
    document = desk.night()
    assert (document["status"], bot(document)["signed_off"]["by"]) == ("agreed", "anna, ben")


def test_a_sign_off_proves_nothing(desk: Desk) -> None:
    desk.begin("500.00")
    desk.sign_off()
    (desk.folder / "vaults" / "btc.sqlite").unlink()
    document = desk.night(claims=None)
    assert document["status"] == "unproven"
    assert (bot(document)["window"]["divergence"], bot(document)["signed_off"]["beyond"]) == (
        None,
        None,
    )
    command = ("sign-off", "btc", "--as-of", str(AS_OF), "--reason", "unseen")
    desk.said(*command, status=ExitCode.UNPROVEN)


def test_the_document_says_where_the_journal_ends(desk: Desk) -> None:
    ends = [desk.begin("500.00")["journal"]]
    assert ends[0]["entries"] == 1
    desk.said("ack", desk.said("breaks")["breaks"][0]["break"], "--note", "known")
    ends.append(desk.night()["journal"])
    assert ends[1]["entries"] == 2
    audit = desk.said("audit")
    assert {"entries": audit["entries"], "head": audit["head"]} == ends[1]
    for end in ends:
        assert desk.said("audit", "--head", end["head"])["ok"]


def test_what_a_person_says_while_a_night_runs_is_heard(desk: Desk) -> None:
    document = desk.begin("5.00")
    with locked_state(desk.folder / "state") as state, Ledger(state / "control.sqlite") as nights:
        nights.begin_run("running", AS_OF, NOW)
        desk.acknowledge(document)
        assert [item["status"] for item in nights.breaks()] == ["acknowledged"]
