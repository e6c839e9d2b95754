"""One source that breaks a night's work: the others are told, and the next night has all again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from recon.config.settings import Config, load
from recon.core.records import Coverage, Record, Table
from recon.core.tolerance import EXIT_CODES
from recon.demo.venues.okx_account import OkxAccount
from recon.fetch.fetch import DatabaseRequest, FetchResult, fetch_all
from recon.fetch.plan import Plan, make_plan
from recon.report.page_text import write_page
from recon.run.nightly import Night, Source, Work, commit, run_night
from recon.system.progress import Silent
from recon.system.state_folder import locked_state
from recon.warehouse.commit import commit_with_manifest, known_ledger, open_verified, verify
from tests.support.fleet import (
    AS_OF,
    BTC,
    NOW,
    OPENING,
    QUICK,
    Desk,
    Document,
    Trader,
    account,
    figures,
    round_trips,
    serving,
    write_folder,
)
from tests.support.servers.channels import receiver, says

IDS = ("one", "bad", "last")
CLAIMS = ((OPENING + timedelta(days=2), "43.00"),)
PATIENT = replace(QUICK, request_timeout_s=30.0, total_s=120.0)
PAGER = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n'
Items = list[Record | Table | Coverage]
Spoil = Callable[[Items], Items]


class Breaking(Silent):
    """Raises an error out of the work on each of some sources, at its first sign of life."""

    def __init__(self, errors: Mapping[str, BaseException]) -> None:
        self._errors = errors

    def count(self, source: str, rows: int) -> None:
        if source in self._errors:
            raise self._errors[source]


@pytest.fixture(scope="module")
def book() -> OkxAccount:
    made = account()
    round_trips(made, 3)
    made.trade(BTC, "buy", 5, 2_100, NOW - timedelta(hours=5))
    return made


def of(document: Document, name: str) -> Document:
    """Return an account's or a bot's entry."""
    entries = [*document["accounts"], *document["bots"]]
    return next(one for one in entries if one.get("bot", one["account"]) == name)


def without(document: Document, *names: str) -> Document:
    """Return the figures of all but some accounts and bots, and no status of all of them."""
    accounts, bots = (
        [one for one in document[part] if one.get("bot", one["account"]) not in names]
        for part in ("accounts", "bots")
    )
    shown = figures({**document, "accounts": accounts, "bots": bots})
    return {part: shown[part] for part in ("accounts", "bots")}


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages of the log's errors, each of which has a traceback."""
    records = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert all("Traceback (most recent call last)" in one.getMessage() for one in records)
    return [one.getMessage() for one in records]


def test_any_exception_in_fetching_is_its_sources_failure_and_is_over_the_next_night(
    tmp_path: Path, book: OkxAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """An account and a bot for each exception, beside an account and a bot that are well."""
    bad: dict[str, BaseException] = {
        "bad-1": RecursionError("too deep"),
        "bad-2": ValueError("lone \ud800"),
        "bad-3": asyncio.CancelledError("by a library"),
    }
    with serving(book) as server, receiver(says(200)) as pager:
        desks = [(Desk(name), server) for name in ("one", *bad)]
        bots = [Trader("bot-one", "one", claims=CLAIMS)] + [
            Trader(f"bot-{name}", "one", (), name) for name in bad
        ]
        path = write_folder(tmp_path, desks, bots, PAGER)
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        night = Night(load(path), as_of=AS_OF, now=lambda: NOW, patience=PATIENT)
        errors = {f"okx {name}": error for name, error in bad.items()}
        errors |= {f"bot_database bot-{name}": error for name, error in bad.items()}
        document = run_night(replace(night, progress=Breaking(errors)))
        [page] = [one for one in pager.took if one["key"].startswith("night-")]
        well = run_night(night)
    assert EXIT_CODES[document["status"]] == EXIT_CODES[well["status"]] == 1  # of bot-one
    assert [one["status"] for one in well["accounts"]] == ["proven"] * (len(bad) + 1)
    assert [one["status"] for one in well["bots"]] == ["diverged"] + ["agreed"] * len(bad)
    names = [*bad, *(f"bot-{name}" for name in bad)]
    assert without(document, *names) == without(well, *names)
    logged = errors_logged(caplog)
    assert len(logged) == len(names)
    for name in names:
        entry, error = of(document, name), bad[name.removeprefix("bot-")]
        [reason] = entry["reasons"]
        assert reason.startswith(f"{type(error).__name__} in recon/fetch/fetch.py:")
        assert name in page["message"]
        is_bot = "bot" in entry
        assert entry["status"] == ("unproven" if is_bot else "failed")
        assert entry["window"]["claimed" if is_bot else "net"] is None
        source = f"{'bot_database' if is_bot else 'okx'} {name}: {type(error).__name__}"
        assert any(line.startswith(source) for line in logged)


# --- What fails in landing, building and judging: the night's one transaction -------------------


class Fetched(NamedTuple):
    """A desk of well accounts, a bot each, and what was fetched of them."""

    config: Config
    plan: Plan
    hauls: Sequence[FetchResult]

    def spoilt(self, spoils: Mapping[Source, Spoil]) -> list[FetchResult]:
        """Return the hauls, those of some sources spoilt."""
        return [
            replace(haul, items=spoils[key](haul.items))
            if (key := source(haul)) in spoils
            else haul
            for haul in self.hauls
        ]


class Desks:
    """The state folder of a desk, to commit nights to."""

    def __init__(self, folder: Path, fetched: Fetched) -> None:
        self._config = fetched.config.model_copy(update={"path": folder / "recon.toml"})
        self._plan = fetched.plan
        self._nights = 0

    def store(self, haul: FetchResult) -> None:
        """Land a haul, and build nothing of it."""
        with (
            locked_state(self._config.state) as state,
            known_ledger(state) as ledger,
            open_verified(state, ledger) as (warehouse, _),
        ):
            with commit_with_manifest(warehouse, ledger, "run0", NOW):
                warehouse.land("run0", haul.venue, haul.account, haul.items, NOW)
            warehouse.checkpoint()

    def night(self, hauls: Sequence[FetchResult], *accounts: str) -> Document:
        """Commit one night of some accounts (none: all), verify it, and return its document."""
        self._nights += 1
        run, at = f"run{self._nights}", NOW + timedelta(minutes=self._nights)
        with locked_state(self._config.state) as state, known_ledger(state) as ledger:
            ledger.begin_run(run, AS_OF, at)
            with open_verified(state, ledger) as (warehouse, lost):
                assert lost == ""
                night = Night(self._config, as_of=AS_OF, now=lambda: NOW, patience=PATIENT)
                work = Work(night, run, at, {}, ledger, warehouse)
                _, document, _ = commit(work, self._plan.only(accounts or IDS), hauls)
                warehouse.checkpoint()
            verify(state, ledger)
        return document


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory, book: OkxAccount) -> Fetched:
    folder = tmp_path_factory.mktemp("desk")
    with serving(book) as server:
        bots = [Trader(f"bot-{name}", name, claims=CLAIMS) for name in IDS]
        config = load(write_folder(folder, [(Desk(name), server) for name in IDS], bots, ""))
        plan = make_plan(config, as_of=AS_OF, accounts=(), now=lambda: NOW, patience=PATIENT)
        hauls = asyncio.run(
            fetch_all(
                plan,
                lambda one: one.window,
                lambda one: DatabaseRequest(plan.of(one.bot.account).window),
                Silent(),
            )
        )
    assert [haul.error for haul in hauls] == [""] * len(hauls)
    return Fetched(config, plan, hauls)


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory, fetched: Fetched) -> Document:
    """The document of a night of nothing but well sources."""
    document = Desks(tmp_path_factory.mktemp("well"), fetched).night(fetched.hauls)
    assert [one["status"] for one in document["accounts"]] == ["proven"] * len(IDS)
    return document


def source(haul: FetchResult) -> Source:
    return haul.venue, haul.account


def payload(kind: str, text: str) -> Spoil:
    """Return what gives the first record of a kind another payload."""

    def spoil(items: Items) -> Items:
        first = next(one for one in items if isinstance(one, Record) and one.kind == kind)
        spoilt = Record(kind, first.id, text, first.at)
        return [spoilt if one is first else one for one in items]

    return spoil


VENUE, BOOKS = ("okx", "bad"), ("bot_database", "bot-bad")
SPOILT: Mapping[str, Mapping[Source, Spoil]] = {
    "landing": {VENUE: payload("fill", '{"tag": "\ud800"}')},
    "building": {VENUE: payload("fill", "no JSON")},
    "a bot's claims": {BOOKS: payload("schema", "{}")},
    "both of one account": {VENUE: payload("fill", "no JSON"), BOOKS: payload("schema", "no JSON")},
}


def test_two_sources_that_break_the_work_on_all_are_left_out_and_well_the_next_night(
    tmp_path: Path, fetched: Fetched, well: Document, caplog: pytest.LogCaptureFixture
) -> None:
    other: Source = ("bot_database", "bot-last")
    spoils = {VENUE: payload("fill", "no JSON"), other: payload("schema", "{}")}
    assert_left_out(spoils, tmp_path, fetched, well, caplog)


@pytest.mark.slow
@pytest.mark.parametrize("spoils", SPOILT.values(), ids=SPOILT)
def test_what_breaks_the_work_on_all_is_left_out_and_well_the_next_night(
    spoils: Mapping[Source, Spoil],
    tmp_path: Path,
    fetched: Fetched,
    well: Document,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_left_out(spoils, tmp_path, fetched, well, caplog)


def assert_left_out(
    spoils: Mapping[Source, Spoil],
    folder: Path,
    fetched: Fetched,
    well: Document,
    caplog: pytest.LogCaptureFixture,
) -> None:
    desks = Desks(folder, fetched)
    document = desks.night(fetched.spoilt(spoils))
    bad = [name for _, name in spoils]
    names = [*bad, *(f"bot-{name}" for venue, name in spoils if venue != "bot_database")]
    assert without(document, *names) == without(well, *names)
    logged = errors_logged(caplog)
    assert len(logged) == len(spoils)
    _, page = write_page(document, "recon.toml") or ("", "")
    for venue, name in spoils:
        entry = of(document, name)
        assert entry["status"] == ("unproven" if venue == "bot_database" else "failed")
        assert "this is a defect of recon" in entry["reasons"][0]
        assert any(line.startswith(f"{venue} {name}: ") for line in logged)
        assert name in page
    assert figures(desks.night(fetched.hauls)) == figures(well)


@pytest.mark.slow
def test_stored_evidence_that_breaks_the_work_leaves_its_account_unjudged_and_the_others_told(
    tmp_path: Path, fetched: Fetched, well: Document, caplog: pytest.LogCaptureFixture
) -> None:
    """It landed without being built, as the pieces of a backfill do."""
    desks = Desks(tmp_path, fetched)
    stored = fetched.spoilt({VENUE: payload("fill", "no JSON")})
    desks.store(next(haul for haul in stored if source(haul) == VENUE))
    document = desks.night(fetched.hauls)
    assert without(document, "bad", "bot-bad") == without(well, "bad", "bot-bad")
    entry, bot = of(document, "bad"), of(document, "bot-bad")
    assert (entry["status"], bot["status"]) == ("failed", "unproven")
    assert entry.keys() == of(well, "bad").keys()
    assert bot.keys() == of(well, "bot-bad").keys()
    assert set(entry["window"].values()) == {None}
    assert (bot["window"]["claimed"], bot["window"]["divergence"]) == (None, None)
    assert "this is a defect of recon" in entry["reasons"][0]
    assert [line.split(":")[0] for line in errors_logged(caplog)] == ["account bad"]
    _, page = write_page(document, "recon.toml") or ("", "")
    assert "account bad: FAILED" in page


def test_where_no_account_can_be_told_the_fault_is_the_nights_own(
    tmp_path: Path, fetched: Fetched
) -> None:
    desks = Desks(tmp_path, fetched)
    stored = fetched.spoilt({VENUE: payload("fill", "no JSON")})
    desks.store(next(haul for haul in stored if source(haul) == VENUE))
    with pytest.raises(duckdb.Error, match="JSON"):
        desks.night(fetched.hauls, "bad")
