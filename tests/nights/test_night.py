"""A night as its operator sees it: what re-runs, what is whose, what is judged, what is told."""

from __future__ import annotations

import gc
import json
import re
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from recon.cli import run_cli
from recon.demo.venues.okx_account import OkxAccount, Profile
from recon.demo.venues.okx_server import OkxServer
from recon.errors import LockedError, UsageError
from recon.report.schema import Document as TypedDocument
from recon.system.state_folder import locked_state
from tests.conftest import slow_after
from tests.support.fleet import (
    AS_OF,
    BTC,
    ETH,
    NOW,
    OPENING,
    SINCE,
    SOL,
    Case,
    Desk,
    Document,
    Trader,
    account,
    figures,
    one_night,
    round_trips,
    rows,
    run,
    run_desks,
    serving,
    shared_night,
    write_folder,
    write_vault,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LAST_DAY = datetime(2026, 5, 14, 9, tzinfo=UTC)
MONEY = re.compile(r"0|-?[0-9]+\.[0-9]{2,}")


def same(document: Document) -> Document:
    """Return all of a document that two runs of one night share."""
    return {key: value for key, value in document.items() if key != "run"}


def tables(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table that is kept from night to night."""
    with duckdb.connect(str(folder / "state" / "warehouse.duckdb"), read_only=True) as warehouse:
        names = warehouse.execute(
            "select schema_name || '.' || table_name from duckdb_tables() "
            "where schema_name in ('evidence', 'lots', 'pnl', 'proofs', 'breaks', 'bot_database')"
        ).fetchall()
        return {
            name: sorted(warehouse.execute(f"from {name}").fetchall(), key=repr)
            for (name,) in names
        }


def bot_of(document: Document, name: str) -> dict[str, Any]:
    [entry] = [bot for bot in document["bots"] if bot["bot"] == name]
    assert isinstance(entry, dict)
    return entry


def net(document: Document, name: str, span: str = "window") -> Decimal:
    return Decimal(bot_of(document, name)[span]["broker"]["net"])


def traded_account() -> OkxAccount:
    book = account()
    round_trips(book, 20)
    book.trade(BTC, "buy", 5, 2_100, LAST_DAY)
    return book


@pytest.fixture
def traded() -> OkxAccount:
    return traded_account()


def begins(server: OkxServer, path: str) -> set[datetime]:
    return {
        datetime.fromtimestamp(int(seen.query["begin"]) / 1000, UTC) + timedelta(minutes=1)
        for seen in server.requests
        if seen.path.endswith(path) and "begin" in seen.query
    }


class First(NamedTuple):
    """The first night of the account `traded`: its folder, what it told and what it asked for."""

    folder: Path
    document: Document
    begins: set[datetime]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> First:
    folder = tmp_path_factory.mktemp("first")
    with serving(traded_account()) as server:
        return First(folder, run(folder, server), begins(server, "trade/fills-history"))


@pytest.fixture
def after_first(first: First, tmp_path: Path) -> Path:
    """Give a folder in which the first night has been: each test goes on from a copy of it."""
    shutil.copytree(first.folder, tmp_path / "nights")
    return tmp_path / "nights"


def test_a_night_run_again_changes_nothing(
    traded: OkxAccount, first: First, after_first: Path
) -> None:
    records, built = rows(after_first, "from raw.records"), tables(after_first)
    with serving(traded) as server:
        second = run(after_first, server)
    assert same(first.document) == same(second)
    assert rows(after_first, "from raw.records") == records
    assert tables(after_first) == built


def test_without_fetching_it_comes_to_the_same(
    traded: OkxAccount, first: First, after_first: Path
) -> None:
    with serving(traded) as server:
        again = run(after_first, server, is_fetching=False)
        assert server.requests == []
    assert same(first.document) == same(again)


def test_without_fetching_and_without_evidence_it_is_unproven(tmp_path: Path) -> None:
    document = one_night(tmp_path, account(), is_fetching=False)
    [entry] = document["accounts"]
    assert entry["status"] == "unproven"
    assert set(entry["coverage"].values()) == {"failed"}
    assert document["status"] == bot_of(document, "btc")["status"] == "unproven"


def test_a_session_that_evidence_does_not_reach_is_unproven_without_fetching(
    traded: OkxAccount, after_first: Path
) -> None:
    later = NOW + 2 * DAY
    with serving(traded) as server:
        document = run(after_first, server, is_fetching=False, as_of=AS_OF + DAY, now=lambda: later)
    assert document["accounts"][0]["status"] == "unproven"
    assert set(document["accounts"][0]["coverage"].values()) == {"partial"}


def test_books_older_than_the_session_are_no_claim_for_it(tmp_path: Path) -> None:
    """The vault was read on the 15th, was missing on the 16th, and is judged for the 15th."""
    later = NOW + DAY
    at = datetime(2026, 5, 15, 12, tzinfo=UTC)
    book = account()
    truth = ((OPENING + DAY, "100.00"),)
    book.trade(SOL, "buy", 1, 2_000, OPENING + DAY, fee=0)
    book.trade(SOL, "sell", 1, 2_100, OPENING + DAY, fee=0)
    with serving(book) as server:
        first = run(tmp_path, server, bots=(Trader(claims=truth),))
        assert first["status"] == "agreed"
        # On the 15th the bot books a profit of 500 that never was, and its vault goes away.
        vault = tmp_path / "vaults" / "btc.sqlite"
        write_vault(vault, (*truth, (at, "500.00")))
        vault.rename(vault.with_suffix(".away"))
        book.now = lambda: later
        options: dict[str, Any] = {
            "bots": (Trader(claims=None),),
            "as_of": AS_OF + DAY,
            "now": lambda: later,
        }
        without_books = run(tmp_path, server, **options)
        assert without_books["status"] == "unproven"
        again = run(tmp_path, server, is_fetching=False, **options)
    assert bot_of(again, "btc")["status"] == "unproven"
    assert again["status"] == "unproven"


def test_a_later_night_reads_only_the_overlap_and_comes_to_the_same(
    traded: OkxAccount, first: First, after_first: Path, tmp_path: Path
) -> None:
    """The evidence that came late is found as well: it is within the overlap."""
    assert first.begins == {datetime(2026, 5, 1, tzinfo=UTC)}
    later = NOW + 3 * DAY
    traded.now = lambda: later
    traded.funding(BTC, NOW + HOUR, amount="-0.33")
    traded.trade(BTC, "sell", 5, 2_200, NOW + 2 * HOUR)
    traded.trade(SOL, "buy", 2, 100, OPENING + 9 * DAY)  # a new id and an old time
    traded.trade(SOL, "sell", 2, 130, OPENING + 9 * DAY + HOUR)
    with serving(traded) as server:
        nightly = run(after_first, server, as_of=AS_OF + 3 * DAY, now=lambda: later)
        for path in ("trade/fills-history", "trade/fills", "bills-archive", "account/bills"):
            assert begins(server, path) == {datetime(2026, 5, 8, tzinfo=UTC)}
        fresh = run(tmp_path / "fresh", server, as_of=AS_OF + 3 * DAY, now=lambda: later)
    assert nightly["accounts"][0]["status"] == "proven"
    assert figures(nightly) == figures(fresh)
    assert tables(after_first) == tables(tmp_path / "fresh")


def test_what_the_venue_no_longer_serves_is_known_from_earlier_nights(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 10)
    august = datetime(2026, 8, 20, 2, tzinfo=UTC)
    with serving(book) as server:
        for now in (NOW, datetime(2026, 7, 1, 2, tzinfo=UTC), august):
            book.now = lambda now=now: now  # type: ignore[misc]
            document = run(
                tmp_path / "nightly", server, as_of=now.date() - DAY, now=lambda now=now: now
            )
            assert document["accounts"][0]["status"] == "proven", document["accounts"][0]
        alone = run(tmp_path / "fresh", server, as_of=august.date() - DAY, now=lambda: august)
    assert rows(tmp_path / "nightly", "select count(*) from evidence.fills") == [(40,)]
    assert Decimal(document["accounts"][0]["window"]["net"])
    assert alone["accounts"][0]["status"] == "unproven"
    assert alone["accounts"][0]["coverage"]["fills"] == "partial"


def test_a_type_added_as_the_finding_says_is_read_from_the_beginning(tmp_path: Path) -> None:
    book = account()
    book.deposit("LTC", 10, OPENING)
    book.trade("LTC-USDT", "sell", 3, 80, OPENING + HOUR, fee=0)
    book.trade("LTC-USDT", "buy", 3, 70, OPENING + 2 * HOUR, fee=0)
    bots = (Trader(instruments=("LTC-USDT",)),)
    both = Desk(instrument_types=("SWAP", "SPOT"))
    with serving(book) as server:
        first = run(tmp_path / "nightly", server, bots=bots)
        assert first["accounts"][0]["status"] == "unproven"
        fixed = run(tmp_path / "nightly", server, bots=bots, desk=both)
        fresh = run(tmp_path / "fresh", server, bots=bots, desk=both)
    assert figures(fixed) == figures(fresh)


def test_another_account_under_the_same_name_is_never_proven(tmp_path: Path) -> None:
    mine, other = account(), account()
    round_trips(mine, 4)
    round_trips(other, 2, start=OPENING + 9 * DAY)
    other.profile = Profile(uid="510000000000000002")
    one_night(tmp_path, mine)

    document = one_night(tmp_path, other)

    assert document["accounts"][0]["status"] == "unproven"


def two_traders(book: OkxAccount) -> None:
    """Bot aa buys 6 and sells 2, bot ab sells 4 and buys 4, a person buys 1: all of BTC."""
    at = OPENING + 2 * DAY
    book.trade(BTC, "buy", 6, 2_000, at, cl_ord_id="btcq1", fee="-1")
    book.trade(BTC, "sell", 4, 2_100, at + HOUR, cl_ord_id="btcqx1", fee="-2")
    book.funding(BTC, at + 2 * HOUR, amount="-1.50")
    book.trade(BTC, "buy", 4, 2_050, at + 3 * HOUR, cl_ord_id="btcqx2", fee="-3")
    book.trade(BTC, "sell", 2, 2_200, at + 4 * HOUR, cl_ord_id="btcq2", fee="-4")
    book.trade(BTC, "buy", 1, 2_150, at + 5 * HOUR, cl_ord_id="hand", fee="-5")
    book.trade(SOL, "buy", 1, 50, at + 5 * HOUR, cl_ord_id="hand", fee="-6")


TAGGED = (
    Trader("aa", instruments=(), order_tag="btcq"),
    Trader("ab", instruments=(), order_tag="btcqx"),
)


def funded() -> OkxAccount:
    book = account()
    at = OPENING + DAY
    book.trade(BTC, "buy", 3, 2_000, at, cl_ord_id="btcq", fee=0)
    book.trade(BTC, "buy", 1, 2_000, at, cl_ord_id="btcqx", fee=0)
    book.funding(BTC, at + HOUR, amount="-1.00")
    book.trade(BTC, "sell", 3, 2_000, at + 2 * HOUR, cl_ord_id="btcq", fee=0)
    book.trade(BTC, "sell", 1, 2_000, at + 2 * HOUR, cl_ord_id="btcqx", fee=0)
    book.funding(BTC, at + 3 * HOUR, amount="-0.20")  # with none: the owner, and there is none
    return book


def beyond_the_window() -> OkxAccount:
    book = OkxAccount(now=lambda: NOW)
    book.deposit("USDT", 1_000, OPENING - 3 * DAY)
    for at, price in (
        (datetime(2026, 4, 30, 23, 59, tzinfo=UTC), 3_000),
        (datetime(2026, 5, 1, 0, 0, tzinfo=UTC), 3_100),
        (datetime(2026, 5, 13, 23, 59, tzinfo=UTC), 3_200),
        (datetime(2026, 5, 14, 23, 59, 59, tzinfo=UTC), 3_400),
        (datetime(2026, 5, 15, 0, 0, tzinfo=UTC), 3_800),
    ):
        book.trade(BTC, "buy", 1, 2_000, at, fee=0)
        book.trade(BTC, "sell", 1, price, at, fee=0)
    return book


CLAIMS_BEYOND = (
    (datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC), "1000.00"),
    (datetime(2026, 5, 1, tzinfo=UTC), "11.00"),
    (datetime(2026, 5, 13, 23, 59, 59, tzinfo=UTC), "12.00"),
    (datetime(2026, 5, 14, tzinfo=UTC), "13.00"),
    (datetime(2026, 5, 14, 23, 59, 59, tzinfo=UTC), "1.50"),
    (datetime(2026, 5, 15, tzinfo=UTC), "1000.00"),
)


def told_of_another_day() -> Case:
    book = account()
    book.trade(BTC, "buy", 1, 2_000, LAST_DAY - DAY, fee=0)
    book.trade(BTC, "sell", 1, 2_500, LAST_DAY - DAY, fee=0)
    return Case(book, bots=(Trader(claims=((LAST_DAY, "5.00"),)),))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Document]]:
    """Give the folder of one night of several accounts, and what it told of each."""
    tagged, netted = account(), account()
    two_traders(tagged)
    two_traders(netted)
    cases = {
        "tagged": Case(tagged, bots=(*TAGGED, Trader("owner", instruments=(BTC,)))),
        "netted": Case(netted, bots=TAGGED),
        "funded": Case(funded(), bots=TAGGED),
        "clipped": Case(beyond_the_window(), bots=(Trader(claims=CLAIMS_BEYOND),)),
        "another-day": told_of_another_day(),
    }
    folder = tmp_path_factory.mktemp("shared")
    return folder, shared_night(folder, cases)


Shared = tuple[Path, dict[str, Document]]


def test_the_longest_order_tag_comes_first_then_the_owner_then_nobody(shared: Shared) -> None:
    folder, told = shared

    query = (
        "select f.order_tag, f.instrument, e.bot from affected.events e "
        "join evidence.fills f on f.account = e.account and f.fill_id = e.event_id "
        "where e.account = 'tagged' order by f.seq"
    )
    assert rows(folder, query) == [
        ("btcq1", BTC, "tagged-aa"),
        ("btcqx1", BTC, "tagged-ab"),
        ("btcqx2", BTC, "tagged-ab"),
        ("btcq2", BTC, "tagged-aa"),
        ("hand", BTC, "tagged-owner"),
        ("hand", SOL, None),
    ]
    assert told["tagged"]["accounts"][0]["unowned"] == {"net": "0", "fills": 1}


def test_bots_on_one_instrument_and_netting_are_the_account_exactly(shared: Shared) -> None:
    document = shared[1]["netted"]

    [entry] = document["accounts"]
    assert entry["status"] == "proven"
    parts = [net(document, "aa"), net(document, "ab"), Decimal(entry["unowned"]["net"])]
    assert sum(parts) + Decimal(entry["netting"]) == Decimal(entry["window"]["net"])
    assert Decimal(entry["netting"])
    # aa: 2 of 6 closed at +200: 4.00, its fee of 4 and a third of the 1; a third of its funding.
    # Funding of -1.50 is carried by +6 and -4, of 2 in all: -4.50 and 3.00.
    assert bot_of(document, "aa")["window"]["broker"]["gross"] == "4.00"
    assert bot_of(document, "aa")["window"]["broker"]["funding"] == "-1.50"
    assert bot_of(document, "ab")["window"]["broker"]["gross"] == "2.00"
    assert bot_of(document, "ab")["window"]["broker"]["fees"] == "-5.00"
    assert bot_of(document, "ab")["window"]["broker"]["funding"] == "3.00"


def test_funding_follows_the_holders_in_proportion(shared: Shared) -> None:
    document = shared[1]["funded"]

    assert net(document, "aa") == Decimal("-0.75")
    assert net(document, "ab") == Decimal("-0.25")
    assert document["accounts"][0]["unowned"]["net"] == "-0.20"
    assert document["accounts"][0]["netting"] == "0"


def test_a_bot_that_books_costs_as_they_are_paid_is_held_against_what_was_paid(
    tmp_path: Path,
) -> None:
    book = account()
    book.trade(BTC, "buy", 3, 2_000, LAST_DAY, fee="-2")
    book.funding(BTC, LAST_DAY + HOUR, amount="-7")
    claims = ((LAST_DAY + HOUR, "-9.00"),)

    due = {"when_paid": "agreed", "at_close": "diverged"}
    with serving(book) as one, serving(book) as other:
        desks = list(zip(map(Desk, due), (one, other), strict=True))
        bots = [Trader(name, name, costs_booked=name, claims=claims) for name in due]
        document = run_desks(tmp_path, desks, bots=bots)

    for costs_booked, status in due.items():
        bot = bot_of(document, costs_booked)
        assert bot["status"] == status
        assert bot["window"]["broker"]["net"] == "0"
        assert bot["window"]["broker"]["open_costs"] == "-9.00"


def test_both_sides_are_clipped_to_the_window(shared: Shared) -> None:
    document = shared[1]["clipped"]

    bot = bot_of(document, "btc")
    assert document["accounts"][0]["status"] == "proven"
    assert (bot["window"]["claimed"], bot["window"]["broker"]["net"]) == ("37.50", "37.00")
    assert (bot["session"]["claimed"], bot["session"]["broker"]["net"]) == ("14.50", "14.00")
    assert bot["status"] == "agreed"


def test_total_agrees_and_the_day_does_not(shared: Shared) -> None:
    document = shared[1]["another-day"]

    entry = bot_of(document, "btc")
    assert (entry["window"]["divergence"], entry["session"]["divergence"]) == ("0", "5.00")
    assert entry["session"]["divergence_pct"] is None
    assert (document["status"], entry["status"]) == ("proven", "diverged")
    assert [item["kind"] for item in document["breaks"]] == ["session"]


@pytest.mark.parametrize(
    ("pct", "absolute", "claims"),
    [
        (
            "0.5",
            "1.00",
            {
                "101.00": "agreed",
                "101.000000000000000001": "diverged",
                "99.00": "agreed",
                "98.999999999999999999": "diverged",
            },
        ),
        ("2", "1.00", {"102.00": "agreed", "102.000000000000000001": "diverged"}),
        ("0", "0", {"100.00": "agreed", "100.000000000000000001": "diverged"}),
    ],
)
def test_exactly_at_the_bound_is_not_divergent(
    pct: str, absolute: str, claims: dict[str, str], tmp_path: Path
) -> None:
    book = account()
    bots = []
    for number, claimed in enumerate(claims):
        at, tag = OPENING + DAY + number * HOUR, f"bot{number}x"
        book.trade(SOL, "buy", 1, 2_000, at, fee=0, cl_ord_id=tag)
        book.trade(SOL, "sell", 1, 2_100, at, fee=0, cl_ord_id=tag)
        bots.append(Trader(tag, instruments=(), order_tag=tag, claims=((at, claimed),)))
    settings = f'tolerance_pct = {pct}\ntolerance_abs = "{absolute}"'

    document = one_night(tmp_path, book, bots=bots, settings=settings)

    assert {bot["window"]["broker"]["net"] for bot in document["bots"]} == {"100.00"}
    assert [bot["status"] for bot in document["bots"]] == list(claims.values())


def no_vault(path: Path) -> None:
    path.unlink()


def corrupt_vault(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:600] = b"\xff" * 500
    path.write_bytes(data)


def text_for_a_vault(path: Path) -> None:
    path.write_text("not a database at all" * 200, encoding="utf-8")


def vault_with_another_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as vault:
        vault.execute("alter table trades rename to deals")
        vault.commit()


def vault_with_a_null(path: Path) -> None:
    with closing(sqlite3.connect(path)) as vault:
        vault.execute("update trades set pnl = null")
        vault.commit()


def vault_without_a_time(path: Path) -> None:
    with closing(sqlite3.connect(path)) as vault:
        vault.execute("update trades set closed = null")
        vault.commit()


SPOILT = [
    no_vault,
    corrupt_vault,
    text_for_a_vault,
    vault_with_another_table,
    vault_with_a_null,
    vault_without_a_time,
]
ILL = [*(spoil.__name__ for spoil in SPOILT), "locked"]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Give a night whose bots have spoilt books, or locked ones, beside the bot `well`."""
    folder = tmp_path_factory.mktemp("beside")
    book = account()
    round_trips(book, 4)
    claims = ((OPENING + DAY, "5.00"),)
    bots = [
        Trader("well", instruments=(BTC,), claims=claims),
        *(Trader(name, instruments=(), order_tag=name, claims=claims) for name in ILL),
    ]
    vaults = folder / "vaults"
    with serving(book) as server, closing(sqlite3.connect(folder / "unused.sqlite")) as holder:
        run(folder, server, bots=bots)
        for spoil in SPOILT:
            spoil(vaults / f"{spoil.__name__}.sqlite")
        holder.execute("attach ? as held", (str(vaults / "locked.sqlite"),))
        holder.execute("pragma held.locking_mode = exclusive")
        holder.execute("begin exclusive")
        holder.execute("update held.trades set pnl = '6.00'")
        document = run(folder, server, bots=[replace(bot, claims=None) for bot in bots])
        holder.rollback()
    return document


@pytest.mark.parametrize("name", ILL)
def test_books_that_cannot_be_read_are_unproven_and_the_others_judged(
    beside: Document, name: str
) -> None:
    ill, well = bot_of(beside, name), bot_of(beside, "well")
    assert ill["status"] == "unproven"
    assert ill["reasons"]
    assert ill["reasons"][0]
    assert (ill["unproven_by_account"], well["unproven_by_account"]) == (False, False)
    for span in ("window", "session"):
        assert (ill[span]["claimed"], ill[span]["divergence"], ill[span]["divergence_pct"]) == (
            None,
        ) * 3
    assert ill["window"]["broker"]["net"] is not None
    assert well["status"] == "diverged"
    assert well["window"]["divergence"] is not None
    assert beside["accounts"][0]["status"] == "proven"
    # What was a break of the bot last time is not cleared by not being looked at.
    assert {item["bot"] for item in beside["breaks"]} == {*ILL, "well"}


def test_only_the_named_account_is_run(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 2)
    with serving(book) as one, serving(book) as two:
        desks = [(Desk("one"), one), (Desk("two"), two)]
        bots = (Trader("a", "one"), Trader("b", "two"))
        document = run_desks(tmp_path, desks, bots=bots, accounts=("two",))
        assert one.requests == []
        assert [entry["account"] for entry in document["accounts"]] == ["two"]
        assert [entry["bot"] for entry in document["bots"]] == ["b"]
        with pytest.raises(UsageError, match="no such account"):
            run_desks(tmp_path, desks, bots=bots, accounts=("three",))


def test_a_failing_account_leaves_the_other_one_proven(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 2)
    sick = account()
    sick.profile = Profile(perm="read_only,withdraw")
    with serving(book) as one, serving(sick) as two:
        desks = [(Desk("one"), one), (Desk("two"), two)]
        document = run_desks(tmp_path, desks, bots=(Trader("a", "one"), Trader("b", "two")))
    assert [entry["status"] for entry in document["accounts"]] == ["proven", "failed"]
    assert [entry["status"] for entry in document["bots"]] == ["diverged", "unproven"]
    assert [entry["unproven_by_account"] for entry in document["bots"]] == [False, True]
    assert {seen.path for seen in two.requests} == {"/api/v5/account/config"}
    assert "withdraw" in document["accounts"][1]["reasons"][0]


@pytest.mark.parametrize("as_of", [AS_OF + DAY, AS_OF + 30 * DAY])
def test_a_session_that_has_not_ended_is_a_usage_error(as_of: date, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has not ended yet"):
        one_night(tmp_path, account(), as_of=as_of)


def test_by_default_the_last_ended_session_is_reconciled(tmp_path: Path) -> None:
    document = one_night(tmp_path, account(), as_of=None)
    assert document["as_of"] == "2026-05-14"


def test_a_second_run_is_shut_out_with_exit_75(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server, locked_state(tmp_path / "state"):
        with pytest.raises(LockedError):
            run(tmp_path, server)
        config = write_folder(tmp_path, [(Desk(), server)], [Trader()], "")
        status = run_cli(["run", "--config", str(config), "--as-of", "2026-05-14"])
        assert server.requests == []
    assert status == 75
    assert "another run holds" in capsys.readouterr().err


def test_a_future_session_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(account()) as server:
        config = write_folder(tmp_path, [(Desk(), server)], [Trader()], "")
        assert run_cli(["run", "--config", str(config), "--as-of", "2999-01-01"]) == 2
    assert "2999-01-01" in capsys.readouterr().err


class Killed(BaseException):
    """As good as a signal: nothing catches it."""


def clock_that_dies(at: int) -> tuple[Callable[[], datetime], Iterator[int]]:
    """Return a clock that raises when it is asked for the `at`-th time, and its count."""
    calls = iter(range(1, 10_000))

    def now() -> datetime:
        if next(calls) == at:
            raise Killed
        return NOW

    return now, calls


class DiesOn:
    """Progress that raises when a line says so."""

    def __init__(self, words: str) -> None:
        self.words = words

    def note(self, line: str) -> None:
        if self.words in line:
            raise Killed

    def count(self, source: str, rows: int) -> None:
        pass


EARLY = ("fills complete", "positions complete")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_everywhere", slow_after(1, [False, True]))
def test_a_night_killed_anywhere_leaves_the_warehouse_as_it_was(
    traded: OkxAccount, first: First, after_first: Path, tmp_path: Path, *, is_everywhere: bool
) -> None:
    with serving(traded) as server:
        before = tables(after_first), rows(after_first, "from raw.records")
        clock, calls = clock_that_dies(0)
        shutil.copytree(first.folder, tmp_path / "count")
        run(tmp_path / "count", server, now=clock)
        last = next(calls) - 1
        traded.trade(BTC, "sell", 5, 2_300, NOW - HOUR)
        after_the_commit = (last - 2, last - 1, last)  # breaks noted, published, ended
        for at in (1, 2, last // 2, last - 4, last - 3) if is_everywhere else (last - 3,):
            with pytest.raises(Killed):
                run(after_first, server, now=clock_that_dies(at)[0])
            assert (tables(after_first), rows(after_first, "from raw.records")) == before, at
        for words in ("landing the evidence", *(EARLY if is_everywhere else ())):
            with pytest.raises(Killed):
                run(after_first, server, progress=DiesOn(words))
            assert (tables(after_first), rows(after_first, "from raw.records")) == before, words
        for at in after_the_commit if is_everywhere else after_the_commit[:1]:
            with pytest.raises(Killed):
                run(after_first, server, now=clock_that_dies(at)[0])
        after = run(after_first, server)
        fresh = run(tmp_path / "fresh", server)
    assert figures(after) == figures(fresh)
    assert tables(after_first) == tables(tmp_path / "fresh")
    gc.collect()  # what a killed night leaves open is told here, and not in another test


def test_a_night_that_is_interrupted_closes_its_connections(
    traded: OkxAccount, tmp_path: Path
) -> None:
    with serving(traded) as server, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(Killed):
            run(tmp_path, server, progress=DiesOn("fills complete"))
        gc.collect()
    assert [str(one.message) for one in told if one.category is ResourceWarning] == []


def money_of(document: Document) -> Iterator[tuple[str, object]]:
    for entry in document["accounts"]:
        yield from entry["window"].items()
        yield "unowned", entry["unowned"]["net"]
        yield "netting", entry["netting"]
        for proof in entry["proofs"].values():
            yield from proof["differences"].items()
    for bot in document["bots"]:
        for span in ("window", "session"):
            yield from bot[span]["broker"].items()
            yield "claimed", bot[span]["claimed"]
            yield "amount", bot[span]["divergence"]
            if bot[span]["divergence_pct"] is not None:
                assert re.fullmatch(r"[0-9]+\.[0-9]{2}", bot[span]["divergence_pct"])
        for cause in bot["window"]["causes"]:
            yield "cause", cause["amount"]
    for item in document["breaks"]:
        yield "break", item["amount"]


def test_every_number_is_decimal_text(traded: OkxAccount, tmp_path: Path) -> None:
    traded.trade(ETH, "buy", "0.01", "1999.99", LAST_DAY, fee="-0.0000000000000001")
    document = one_night(tmp_path, traded, bots=TAGGED)
    assert document == json.loads(json.dumps(document))
    found = list(money_of(document))
    assert len(found) > 30
    for name, value in found:
        assert isinstance(value, str), name
        assert MONEY.fullmatch(value), (name, value)
        assert value != "-0.00"


SPAN = {"claimed", "broker", "divergence", "divergence_pct"}
TRUTH = {"gross", "fees", "funding", "other", "net", "open_costs"}
WORDS = {"session", "reasons", "proven_window", "valuation"}
"""What the document says beyond the contract: which session it was, and why, in words, over which
time the evidence is whole, and how it was valued."""


def test_the_document_has_the_contracts_keys(traded: OkxAccount, tmp_path: Path) -> None:
    document = one_night(tmp_path, traded, is_paging=True)

    assert set(document) == {
        "schema",
        "run",
        "as_of",
        "status",
        "accounts",
        "bots",
        "restatements",
        "findings",
        "violations",
        "breaks",
        "journal",
        "pages",
    }
    assert document["schema"] == 2
    [entry] = document["accounts"]
    assert set(entry) - WORDS == {
        "account",
        "status",
        "currency",
        "coverage",
        "proofs",
        "window",
        "unowned",
        "netting",
    }
    assert set(entry["coverage"]) == {"fills", "ledger", "positions"}
    assert set(entry["proofs"]) == {"positions", "cash", "broker_pnl", "equity"}
    assert set(entry["window"]) == TRUTH | {"unrealised"}
    assert set(entry["unowned"]) == {"net", "fills"}
    [bot] = document["bots"]
    assert set(bot) - WORDS == {
        "bot",
        "account",
        "status",
        "window",
        "signed_off",
        "unproven_by_account",
    }
    for span in ("window", "session"):
        assert set(bot[span]) - {"causes"} == SPAN
        assert set(bot[span]["broker"]) == TRUTH
    for causes in (bot["window"]["causes"], bot["session"]["causes"]):
        assert all(set(cause) == {"cause", "amount", "trades"} for cause in causes)
    [item] = document["breaks"]
    assert set(item) == {
        "break",
        "bot",
        "account",
        "kind",
        "session",
        "divergence",
        "first_seen",
        "last_seen",
        "age_sessions",
        "severity",
        "status",
        "reopened",
        "last_action",
    }
    assert TypedDocument.model_validate(document).as_json() == document


def test_the_document_is_also_the_report_on_disk(first: First) -> None:
    report = first.folder / "state" / "reports" / "2026-05-14.json"
    assert json.loads(report.read_text(encoding="utf-8")) == first.document
    assert (first.folder / "state").stat().st_mode & 0o777 == 0o700


def test_a_break_keeps_its_identity_and_grows_older(
    traded: OkxAccount, first: First, after_first: Path
) -> None:
    later = NOW + 2 * DAY
    traded.now = lambda: later
    with serving(traded) as server:
        second = run(after_first, server, as_of=AS_OF + 2 * DAY, now=lambda: later)
    [before] = first.document["breaks"]
    [after] = second["breaks"]
    assert before["break"] == after["break"]
    assert (before["age_sessions"], after["age_sessions"]) == (0, 2)
    assert after["first_seen"] == SINCE.replace(day=14).isoformat()
