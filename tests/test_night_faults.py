"""Every fault at every endpoint, through whole nights: the right numbers, or unproven in words.

One night holds ten accounts, each on a server of its own: nine of them have the fault at one
endpoint each, the tenth is left alone and must never notice.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.patience import Patience
from recon.demo.okx_account import OkxAccount
from recon.demo.okx_faults import Fault, FaultKind
from recon.demo.okx_server import OkxServer
from recon.judgement import EXIT_CODES
from tests.fleet import (
    BTC,
    NOW,
    OPENING,
    Desk,
    Document,
    Trader,
    account,
    figures,
    round_trips,
    run_desks,
    serving,
)

ENDPOINTS = (
    "account/config",
    "account/balance",
    "account/positions",
    "account/positions-history",
    "account/bills",
    "account/bills-archive",
    "trade/fills",
    "trade/fills-history",
    "public/instruments",
)
KINDS: tuple[FaultKind, ...] = typing.get_args(FaultKind)
LEFT_ALONE = "left-alone"
HASTY = Patience(
    request_timeout_s=0.4, attempts=3, first_wait_s=0.01, longest_wait_s=0.02, total_s=8.0
)
CLAIMS = ((OPENING + timedelta(days=2), "43.00"),)


@pytest.fixture(scope="module")
def book() -> OkxAccount:
    """134 fills, 168 bills, among them some of the last three days, and two open positions."""
    made = account()
    round_trips(made, 27)
    round_trips(made, 6, start=NOW - timedelta(days=2, hours=22))
    made.trade(BTC, "buy", 5, 2_100, NOW - timedelta(hours=5))
    made.trade("ETH-USDT-SWAP", "sell", 2, 2_300, NOW - timedelta(hours=3))
    return made


@pytest.fixture(scope="module")
def venues(book: OkxAccount) -> Iterator[dict[str, OkxServer]]:
    """A server an endpoint, and one that is left alone."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(book)) for name in (*ENDPOINTS, LEFT_ALONE)}


def night(
    folder: Path, venues: dict[str, OkxServer], faults: Sequence[Fault], patience: Patience = HASTY
) -> Document:
    """Run one night of all ten accounts, each endpoint's account with the faults armed there."""
    desks = []
    for name, server in venues.items():
        server.clear_faults()
        server._served.clear()
        if name != LEFT_ALONE:
            for fault in faults:
                server.fault(name, fault)
        desks.append((Desk(id=account_id(name)), server))
    bots = [
        Trader(f"bot-{desk.id}", desk.id, claims=CLAIMS) for desk, _ in desks
    ]
    return run_desks(folder, desks, bots=bots, patience=patience)


def account_id(endpoint: str) -> str:
    return endpoint.replace("/", ".")


def part(document: Document, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one account and its bot, without what tells it from the others."""
    shown = figures(document)
    [place] = [n for n, a in enumerate(document["accounts"]) if a["account"] == account_id(name)]
    bot = dict(shown["bots"][place])
    assert bot.pop("bot") == f"bot-{account_id(name)}"
    return shown["accounts"][place], bot


def verdicts(document: Document) -> dict[str, str]:
    """Return how each endpoint's account came out: `right`, `unproven`, or what is wrong of it.

    `right` is all the numbers of the account that was left alone; it must itself be proven.
    """
    truth = part(document, LEFT_ALONE)
    assert truth[0]["status"] == "proven"
    assert truth[1]["status"] == "diverged"
    found = {}
    for name in ENDPOINTS:
        entry, bot = part(document, name)
        [full] = [a for a in document["accounts"] if a["account"] == account_id(name)]
        if (entry, bot) == truth:
            found[name] = "right"
        elif entry["status"] == "proven" or bot["status"] != "unproven":
            found[name] = f"WRONG: {entry['status']}, {bot['status']}, {entry['total']}"
        elif not any(full["reasons"]):
            found[name] = "WRONG: unproven without a word"
        else:
            found[name] = "unproven"
    return found


def wrong(found: dict[str, str]) -> dict[str, str]:
    return {name: verdict for name, verdict in found.items() if verdict.startswith("WRONG")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_passes_leaves_a_right_night_or_an_unproven_one(
    kind: FaultKind, tmp_path: Path, venues: dict[str, OkxServer]
) -> None:
    document = night(tmp_path, venues, [Fault(kind, times=1)])
    assert wrong(verdicts(document)) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_that_stays_never_agrees_on_less(
    kind: FaultKind, tmp_path: Path, venues: dict[str, OkxServer]
) -> None:
    document = night(tmp_path, venues, [Fault(kind, times=None)])
    assert wrong(verdicts(document)) == {}


RETRIED = (
    "status_429", "status_500", "status_502", "status_503", "code_50001", "code_50011",
    "code_50013", "code_50102", "html_200", "empty_body", "data_null", "data_missing", "data_dict",
    "truncated_json", "dropped_connection", "hang", "dripping_body", "dripping_head",
    "reset_midway", "page_doubled", "page_overlapping", "gzip_bomb",
)  # fmt: skip
"""What is over when it is asked again: one of these costs no night."""

PERSISTENT = (
    *(kind for kind in RETRIED if not kind.startswith("page_")),
    "status_401", "status_403", "status_451", "code_50119", "code_50120", "redirect",
)  # fmt: skip
"""What no endpoint can be read through."""


@pytest.mark.parametrize("kind", RETRIED)
def test_a_passing_fault_is_asked_again_and_costs_nothing(
    kind: FaultKind, tmp_path: Path, venues: dict[str, OkxServer]
) -> None:
    found = verdicts(night(tmp_path, venues, [Fault(kind, times=1)]))
    assert found == dict.fromkeys(ENDPOINTS, "right")


@pytest.mark.parametrize("kind", PERSISTENT)
def test_an_endpoint_that_cannot_be_read_leaves_its_account_unproven(
    kind: FaultKind, tmp_path: Path, venues: dict[str, OkxServer]
) -> None:
    document = night(tmp_path, venues, [Fault(kind, times=None)])
    assert verdicts(document) == dict.fromkeys(ENDPOINTS, "unproven")
    assert document["status"] == "diverged"  # the account that was left alone


@pytest.mark.parametrize("kind", ["status_502", "hang", "html_200", "code_50120", "empty_page"])
def test_a_venue_that_is_down_altogether_is_exit_3(
    kind: FaultKind, tmp_path: Path, book: OkxAccount
) -> None:
    with serving(book) as server:
        server.fault("*", Fault(kind, times=None))
        bot = Trader(claims=CLAIMS)
        document = run_desks(tmp_path, [(Desk(), server)], bots=[bot], patience=HASTY)
    assert document["status"] == "unproven"
    assert EXIT_CODES[document["status"]] == 3
    assert document["accounts"][0]["status"] == "failed"
    assert document["bots"][0]["status"] == "unproven"
    assert document["accounts"][0]["reasons"]


SPOILING: tuple[FaultKind, ...] = ("null_fields", "nan_fields", "huge_numbers")
FIELDS = (
    "instId", "instType", "side", "posSide", "fillSz", "fillPx", "fee", "feeCcy", "ts", "tradeId",
    "billId", "fillPnl", "subType", "ccy", "bal", "balChg", "type", "pnl", "posBalChg", "pos",
    "ctVal", "ctMult", "ctType", "settleCcy", "details", "uTime", "posId", "perm",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_one_field_spoilt_everywhere_never_agrees_on_less(
    field: str, tmp_path: Path, venues: dict[str, OkxServer]
) -> None:
    found = {}
    for kind in SPOILING:
        document = night(tmp_path / kind, venues, [Fault(kind, times=None, fields=(field,))])
        bad = wrong(verdicts(document))
        found |= {f"{kind} {name}": verdict for name, verdict in bad.items()}
    assert found == {}


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("kind", ["empty_page", "page_missing", "page_reordered", "stuck_cursor"])
def test_a_chain_that_breaks_later_is_noticed_too(
    kind: FaultKind, pages: int, tmp_path: Path, venues: dict[str, OkxServer]
) -> None:
    document = night(tmp_path, venues, [Fault(kind, times=None, after=pages)])
    assert wrong(verdicts(document)) == {}
