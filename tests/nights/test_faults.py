"""Every fault at every endpoint, through whole nights: the right numbers, or unproven in words.

A cell is one fault at one endpoint. One night holds up to 36 cells, each an account on a
server of its own, and one account more that is left alone and must never notice. The nights that
always run hold each kind of fault at one endpoint. The nights of all other cells are slow.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from connectors.retry import RetryPolicy
from recon.core.tolerance import EXIT_CODES
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_faults import PAGE_FAULTS, Fault, FaultKind
from recon.demo.venues.okx_server import OkxServer
from tests.conftest import slow_after
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    QUICK,
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
PAGED = ("trade/fills-history", "account/bills-archive", "account/bills", "trade/fills")
KINDS: tuple[FaultKind, ...] = typing.get_args(FaultKind)
RETRIED = frozenset(
    {
        "status_429", "status_500", "status_502", "status_503", "code_50001", "code_50011",
        "code_50013", "code_50102", "html_200", "empty_body", "data_null", "data_missing",
        "data_dict", "truncated_json", "dropped_connection", "hang", "dripping_body",
        "dripping_head", "reset_midway", "page_doubled", "page_overlapping", "gzip_bomb",
        "wrong_types",
    }
)  # fmt: skip
"""What is over when it is asked again: one of these costs no night."""
UNREADABLE = (RETRIED - {"page_doubled", "page_overlapping", "wrong_types"}) | {
    "status_401",
    "status_403",
    "status_451",
    "code_50119",
    "code_50120",
    "redirect",
}
"""What no endpoint can be read through."""
SPOILING: tuple[FaultKind, ...] = ("null_fields", "nan_fields", "huge_numbers")
STATES = ("account/config", "account/balance", "account/positions", "public/instruments")
"""What is asked for once, and what nothing else that is read says as well."""
HISTORIES = ("account/bills-archive", "trade/fills-history")
"""What reaches further back than the endpoint of the last days, which says the same of them."""
ONCE: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(UNREADABLE - RETRIED - {"redirect"}, ENDPOINTS),
    "page_missing": (*STATES, *HISTORIES),
    "empty_page": STATES,
    "nan_fields": STATES,
    "null_fields": ("account/config", "account/balance"),
    "huge_numbers": ("account/config", "account/balance"),
}
"""Where a fault that comes once leaves its account unproven; elsewhere every number is right."""
ALWAYS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys((*UNREADABLE, *SPOILING), ENDPOINTS),
    **dict.fromkeys(("page_doubled", "page_overlapping", "page_reordered", "stuck_cursor"), PAGED),
    **dict.fromkeys(("page_missing", "empty_page"), (*STATES, *HISTORIES)),
}
"""The same of a fault that stays."""
FIELDS = {
    "trade/fills-history": (
        "instId", "instType", "side", "posSide", "fillSz", "fillPx", "fee", "feeCcy", "ts",
        "tradeId", "billId", "fillPnl", "subType", "clOrdId",
    ),
    "account/bills-archive": (
        "instId", "instType", "ccy", "bal", "balChg", "type", "pnl", "fee", "posBalChg", "ts",
        "tradeId", "billId",
    ),
    "account/positions": ("instId", "instType", "pos", "posSide", "avgPx", "markPx", "posId"),
    "account/positions-history": ("uTime", "posId"),
    "account/balance": ("details",),
    "account/config": ("perm", "uid"),
    "public/instruments": ("instId", "instType", "ctVal", "ctMult", "ctType", "settleCcy"),
}  # fmt: skip
AT_ONCE = 4 * len(ENDPOINTS)
SLOW = frozenset({"hang", "dripping_body", "dripping_head"})
"""What is noticed by a deadline alone: waited for in haste, and by no more than nine accounts."""
LEFT_ALONE = "left-alone"
HASTY = RetryPolicy(
    request_timeout_s=0.4,
    attempts=3,
    first_wait_s=0.01,
    longest_wait_s=0.02,
    total_s=8.0,
    is_rate_limited=False,
)
PATIENT = replace(QUICK, request_timeout_s=20.0, total_s=120.0)
"""Many accounts ask at once: none is cut off."""
CLAIMS = ((OPENING + timedelta(days=2), "43.00"),)
WRONG = "WRONG"


class Cell(NamedTuple):
    """One fault at one endpoint; `name` is also its account's id."""

    name: str
    path: str
    fault: Fault


@pytest.fixture(scope="module")
def book() -> OkxAccount:
    """106 fills, 133 bills, among them some of the last three days, and two open positions."""
    made = account()
    round_trips(made, 20)
    round_trips(made, 6, start=NOW - timedelta(days=2, hours=22))
    made.trade(BTC, "buy", 5, 2_100, NOW - timedelta(hours=5))
    made.trade(ETH, "sell", 2, 2_300, NOW - timedelta(hours=3))
    return made


@pytest.fixture(scope="module")
def servers(book: OkxAccount) -> Iterator[list[OkxServer]]:
    """As many servers as a night has accounts, all of one book."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving(book)) for _ in range(AT_ONCE + 1)]


def night(folder: Path, servers: Sequence[OkxServer], cells: Sequence[Cell]) -> Document:
    """Run one night of an account a cell, and of the one that is left alone."""
    is_slow = any(cell.fault.kind in SLOW for cell in cells)
    for server in servers:
        server.clear_faults()
        server._served.clear()
        server._plan.clear()
    for cell, server in zip(cells, servers, strict=False):
        server.fault(cell.path, cell.fault)
    desks = [Desk(cell.name) for cell in cells] + [Desk(LEFT_ALONE)]
    bots = [Trader(f"bot-{desk.id}", desk.id, claims=CLAIMS) for desk in desks]
    return run_desks(
        folder,
        list(zip(desks, servers, strict=False)),
        bots=bots,
        patience=HASTY if is_slow else PATIENT,
    )


def verdicts(document: Document) -> dict[str, str]:
    """Return how each cell came out: `right`, `unproven`, or what is wrong with it.

    `right` is every number of the account that was left alone, which must itself be proven.
    """
    shown = figures(document)
    *cells, (alone, its_bot) = zip(shown["accounts"], shown["bots"], strict=True)
    truth: tuple[Any, Any] = (alone, {**its_bot, "bot": ""})
    assert (alone["status"], its_bot["status"]) == ("proven", "diverged")
    found = {}
    for (entry, bot), full in zip(cells, document["accounts"], strict=False):
        name = full["account"]
        if ({**entry, "window": _known(entry, alone)}, {**bot, "bot": ""}) == truth:
            found[name] = "right"
        elif entry["status"] == "proven" or bot["status"] != "unproven":
            found[name] = f"{WRONG}: {entry['status']}, {bot['status']}, {entry['window']}"
        elif not any(full["reasons"]):
            found[name] = f"{WRONG}: unproven without a word"
        else:
            found[name] = "unproven"
    return found


def _known(entry: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """Return an account's total, what is open valued as it should be where it says null.

    Without a mark it cannot be valued, and null is honest; every other number must stand.
    """
    total: dict[str, Any] = entry["window"]
    if total["unrealised"] is None:
        return {**total, "unrealised": truth["window"]["unrealised"]}
    return total


def wrong(found: dict[str, str]) -> dict[str, str]:
    return {name: verdict for name, verdict in found.items() if verdict.startswith(WRONG)}


def of_each_kind(times: int | None) -> list[Any]:
    """Return each night's cells: each kind at one endpoint first, then at all the others."""
    first: list[Cell] = []
    others: list[Cell] = []
    for turn, kind in enumerate(KINDS, times or 4):
        paths = PAGED if kind in PAGE_FAULTS else ENDPOINTS
        home = paths[turn % len(paths)]
        for path in ENDPOINTS:
            name = f"{kind}.{path.replace('/', '.')}"
            (first if path == home else others).append(Cell(name, path, Fault(kind, times)))
    return always_the_first(first, others)


def always_the_first(first: Sequence[Cell], others: Sequence[Cell]) -> list[Any]:
    """Return nights of the first cells, which always run, and of the others, which are slow."""
    always = by_night(first)
    return slow_after(len(always), [*always, *by_night(others)])


def by_night(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return as many cells at once as a night may hold; those that take time apart from others."""
    quick = [one for one in cells if one.fault.kind not in SLOW]
    timed = [one for one in cells if one.fault.kind in SLOW]
    return [
        some[at : at + size]
        for some, size in ((quick, AT_ONCE), (timed, len(ENDPOINTS)))
        for at in range(0, len(some), size)
    ]


def due(cells: Sequence[Cell], unproven: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the verdict that each cell must have: `unproven` at these paths of its kind."""
    return {
        cell.name: "unproven" if cell.path in unproven.get(cell.fault.kind, ()) else "right"
        for cell in cells
    }


@pytest.mark.parametrize("cells", of_each_kind(times=1), ids=lambda cells: cells[0].name)
def test_a_fault_that_passes_costs_nothing_or_leaves_its_account_unproven(
    cells: list[Cell], tmp_path: Path, servers: list[OkxServer]
) -> None:
    assert verdicts(night(tmp_path, servers, cells)) == due(cells, ONCE)


@pytest.mark.parametrize("cells", of_each_kind(times=None), ids=lambda cells: cells[0].name)
def test_a_fault_that_stays_never_agrees_on_less(
    cells: list[Cell], tmp_path: Path, servers: list[OkxServer]
) -> None:
    assert verdicts(night(tmp_path, servers, cells)) == due(cells, ALWAYS)


def spoilt_fields() -> list[Any]:
    """Return each night's cells: every third field with one spoiler first, then all others.

    `test_okx_fields.py` spoils every field always, in other ways.
    """
    first: list[Cell] = []
    others: list[Cell] = []
    fields = [(path, name) for path, names in FIELDS.items() for name in names]
    for turn, (path, field) in enumerate(fields):
        home = SPOILING[turn // 3 % len(SPOILING)] if turn % 3 == 0 else None
        for kind in SPOILING:
            name = f"{kind}.{path.replace('/', '.')}.{field}"
            one = Cell(name, path, Fault(kind, None, fields=(field,)))
            (first if kind == home else others).append(one)
    return always_the_first(first, others)


@pytest.mark.parametrize("cells", spoilt_fields(), ids=lambda cells: cells[0].name)
def test_one_spoilt_field_never_agrees_on_less(
    cells: list[Cell], tmp_path: Path, servers: list[OkxServer]
) -> None:
    found = verdicts(night(tmp_path, servers, cells))
    assert len(found) == len(cells)
    assert wrong(found) == {}


def test_a_chain_that_breaks_on_a_later_page_is_noticed_too(
    tmp_path: Path, servers: list[OkxServer]
) -> None:
    kinds: tuple[FaultKind, ...] = ("empty_page", "page_missing", "page_reordered", "stuck_cursor")
    cells = [
        Cell(f"{kind}.{path.replace('/', '.')}.{page}", path, Fault(kind, times=None, after=page))
        for kind in kinds
        for path in PAGED
        for page in (1, 2)
    ]
    assert wrong(verdicts(night(tmp_path, servers, cells))) == {}


def test_a_venue_that_is_down_altogether_is_exit_3(tmp_path: Path, book: OkxAccount) -> None:
    kinds: tuple[FaultKind, ...] = ("status_502", "hang", "html_200", "code_50120", "empty_page")
    with ExitStack() as stack:
        desks = [(Desk(kind), stack.enter_context(serving(book))) for kind in kinds]
        for kind, (_, server) in zip(kinds, desks, strict=True):
            server.fault("*", Fault(kind, times=None))
        bots = [Trader(f"bot-{kind}", kind, claims=CLAIMS) for kind in kinds]
        document = run_desks(tmp_path, desks, bots=bots, patience=HASTY)
    assert document["status"] == "unproven"
    assert EXIT_CODES[document["status"]] == 3
    assert [entry["status"] for entry in document["accounts"]] == ["failed"] * len(kinds)
    assert [bot["status"] for bot in document["bots"]] == ["unproven"] * len(kinds)
    assert all(entry["reasons"] for entry in document["accounts"])
