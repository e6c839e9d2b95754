"""Random IBKR accounts through an awkward Flex Web Service and a whole night.

Every number of the document is the desk's own reckoning, and every proof closes. Then one event
is lost, doubled, altered or moved to another day, and the account must not read as proven.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from connectors.ibkr_flex.statement import Row, read_statements
from recon.config.settings import load
from recon.demo.venues.background import in_background
from recon.demo.venues.flex_document import document
from recon.demo.venues.flex_server import Fault, FlexServer
from recon.run.nightly import Night, run_night
from tests.conftest import seeds
from tests.support.desk_statement import statement
from tests.support.fleet import QUICK, Document, Trader, proof_statuses, rows, write_folder
from tests.support.flex_desk import DAYS, FIRST, LAST, Desk, written

SEEDS = seeds(1, 4)
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
PATIENCE = replace(QUICK, request_timeout_s=20.0, total_s=120.0)
QUERY = "100200"
OWNED = ("FUT", "CFD", "FND", "BBB", "BBB C", "EEE")
"""What one bot owns; the rest is nobody's."""
PLACES = Fraction(1, 10**9)
FAULTS = (
    Fault("status", "503"),
    Fault("code", "1001"),
    Fault("code", "1009", step="SendRequest"),
    Fault("code", "1017"),
    Fault("html"),
    Fault("truncated"),
    Fault("empty"),
    Fault("dropped"),
)
EVENTS = ("Trades", "Trades", "CashTransactions", "CorporateActions", "StmtFunds", "OpenPositions")
AMOUNTS = {
    "Trade": ("quantity", "proceeds", "ibCommission"),
    "CashTransaction": ("amount",),
    "CorporateAction": ("quantity",),
    "StatementOfFundsLine": ("amount", "balance"),
    "OpenPosition": ("position",),
}
"""The figures of an event that are altered, each in turn."""
DATES = ("tradeDate", "dateTime", "reportDate", "date")
UNDATED = {("OpenPositions", "moved")}


def played(seed: int, *, has_euros: bool, turns: int = 60) -> Desk:
    desk = Desk(random.Random(seed), has_euros)
    desk.play(turns)
    return desk


def stated(sections: Mapping[str, list[Row]], desk: Desk) -> str:
    return document((statement(desk).attributes, sections))


def night(folder: Path, text: str, rng: random.Random) -> Document:
    """Run one night against a service that is not ready at first, and fails twice."""
    faults = [replace(fault) for fault in rng.sample(FAULTS, 2)]
    server = FlexServer({QUERY: text}, faults=faults)
    with in_background(server):
        account = (
            f'[[accounts]]\nid = "ib"\nvenue = "ibkr-flex"\nmode = "paper"\ncurrency = "USD"\n'
            f'since = {FIRST}\ncalendar = "XNYS"\nquery_id = "{QUERY}"\nbase_url = "{server.url}"\n'
            'token = { file = "token" }\n'
        )
        token = folder / "token"
        token.write_text(server.token, encoding="utf-8")
        token.chmod(0o600)
        path = write_folder(
            folder, [], [Trader(id="owner", account="ib", instruments=OWNED)], account
        )
        told = run_night(
            Night(load(path), as_of=LAST, now=lambda: NOW, patience=PATIENCE, is_paging=False)
        )
    assert [fault.times for fault in faults] == [0, 0]
    return told


def same(shown: Mapping[str, str | None], reckoned: Mapping[str, Fraction | None]) -> None:
    for name, amount in reckoned.items():
        figure = shown[name]
        if figure is None or amount is None:
            assert (name, figure) == (name, amount)
            continue
        assert abs(Fraction(figure) - amount) <= PLACES, (name, figure, float(amount))


@pytest.mark.parametrize("has_euros", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_proof_closes_and_every_number_is_reckoned(
    seed: int, tmp_path: Path, *, has_euros: bool
) -> None:
    desk = played(seed, has_euros=has_euros)
    document = night(tmp_path, stated(statement(desk).sections, desk), desk.rng)
    [account], [bot] = document["accounts"], document["bots"]
    assert account["status"] == "proven", account["reasons"]
    assert proof_statuses(account) == {
        "positions": "closed",
        "cash": "closed",
        "broker_pnl": "closed",
        "equity": "absent" if "EUR" in desk.cash else "closed",
    }
    every = {"", *desk.terms}
    standing = {"open_costs": desk.open_costs(desk.terms), "unrealised": desk.worth()}
    same(account["window"], desk.due(every) | standing)
    owned = desk.terms.keys() & OWNED
    same(bot["window"]["broker"], desk.due(OWNED) | {"open_costs": desk.open_costs(owned)})
    same(bot["session"]["broker"], desk.due(OWNED, since=LAST))
    same(account["unowned"], {"net": desk.due(every - {*OWNED})["net"]})
    parts = [bot["window"]["broker"]["net"], account["unowned"]["net"], account["netting"]]
    assert sum(map(Decimal, parts), Decimal(0)) == Decimal(account["window"]["net"])
    by_broker = rows(
        tmp_path,
        "select instrument, sum(gross + fees)::varchar from lots.realised "
        "where scope = 'broker' group by all",
    )
    for name, realised in by_broker:
        assert abs(Fraction(realised) - desk.pnl[name]) < Fraction(1, 10**12), name
    assert {name for name, amount in desk.pnl.items() if amount} <= {name for name, _ in by_broker}


@pytest.mark.parametrize("harm", ["lost", "doubled", "altered", "moved"])
@pytest.mark.parametrize("seed", SEEDS)
def test_one_event_lost_doubled_altered_or_moved_never_reads_as_proven(
    seed: int, harm: str, tmp_path: Path
) -> None:
    desk = played(seed, has_euros=seed % 2 == 0, turns=25)
    rng = random.Random(f"{harm}{seed}")
    sections = statement(desk).sections
    places = {name: moving(sections[name]) for name in EVENTS if (name, harm) not in UNDATED}
    section = rng.choice([name for name in EVENTS if places.get(name)])
    events, place = sections[section], rng.choice(places[section])
    what = section, events[place]
    harmed(events, place, harm, rng)
    document = night(tmp_path, stated(sections, desk), rng)
    [account], [bot] = document["accounts"], document["bots"]
    assert account["status"] == "unproven", what
    assert account["reasons"], what
    if bot["status"] == "unproven":
        assert document["status"] == "unproven", what
        return
    # A finding of an instrument leaves the bots of others judged, by the numbers that are right.
    symbol = what[1][1].get("symbol")
    assert symbol, what
    assert symbol not in OWNED, what
    open_costs = desk.open_costs(desk.terms.keys() & OWNED)
    same(bot["window"]["broker"], desk.due(OWNED) | {"open_costs": open_costs})


def moving(events: list[Row]) -> list[int]:
    """Return where the events are that move anything: a line of funds may move 0."""
    return [place for place, (_, row) in enumerate(events) if row.get("amount") != "0"]


def harmed(events: list[Row], place: int, harm: str, rng: random.Random) -> None:
    """Lose an event, double it as another one of the same, alter a figure of it, or its day."""
    tag, row = events[place]
    if harm == "lost":
        del events[place]
    elif harm == "doubled":
        own = {"transactionID": "999999"} if "transactionID" in row else {}
        events.insert(place, (tag, {**row, **own}))
    elif harm == "altered":
        name = rng.choice(AMOUNTS[tag])
        change = Fraction(rng.choice([-10, -1, 1, 10]), rng.choice([1, 100]))
        events[place] = tag, {**row, name: written(Fraction(row[name]) + change)}
    else:
        names = rng.choice([DATES, DATES, ("tradeDate",)] if tag == "Trade" else [DATES])
        days = [f"{day:%Y%m%d}" for day in DAYS]
        day = rng.choice([one for one in days if one != row["reportDate"]])
        moved = {name: day + row[name][8:] for name in names if name in row}
        events[place] = tag, {**row, **moved}


def example(folder: Path, section: str, change: Mapping[str, str] | None) -> str:
    """Return why an account isn't proven of which the last row was changed; lost, where None."""
    desk = played(1, has_euros=False, turns=25)
    sections = statement(desk).sections
    tag, row = sections[section].pop()
    if change is not None:
        sections[section].append((tag, {**row, **change}))
    [account] = night(folder, stated(sections, desk), desk.rng)["accounts"]
    assert account["status"] == "unproven"
    return " | ".join(account["reasons"])


def test_cash_that_moved_on_another_day_than_ibkr_says_is_noticed(tmp_path: Path) -> None:
    day = f"{LAST:%Y%m%d}"
    told = example(tmp_path, "CashTransactions", {"dateTime": day, "reportDate": day})
    assert "is missing, doubled or altered, or has another date" in told


def test_the_last_line_of_funds_may_be_the_one_that_is_missing(tmp_path: Path) -> None:
    told = example(tmp_path, "StmtFunds", None)
    assert "the cash report and the statement of funds: change, in the period to" in told


def test_nothing_is_traded_before_it_was_executed(tmp_path: Path) -> None:
    told = example(tmp_path, "Trades", {"tradeDate": f"{FIRST:%Y%m%d}"})
    assert f"of trade date {FIRST}, reported on" in told


def test_a_document_is_read_as_it_was_written() -> None:
    desk = played(1, has_euros=True, turns=20)
    told = statement(desk)
    [read] = read_statements(stated(told.sections, desk).encode(), "the desk's")
    assert read == told
