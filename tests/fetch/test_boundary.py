"""The boundary of one source, at its door: what passes, and what it makes of everything else."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import sqlite3
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.config.settings import FlexAccount
from recon.core.calendars import calendar, window
from recon.core.records import CheckItem, Coverage, EvidenceSpec, Record, Table, Window
from recon.errors import (
    BotDatabaseError,
    ConfigError,
    DefectError,
    EvidenceError,
    ExitCode,
    IdentityError,
    LockedError,
    ReconError,
    StateError,
    VenueRefused,
)
from recon.fetch.boundary import LONGEST_TEXT, contained, culprits, is_of_one_source, reason
from recon.fetch.fetch import DatabaseRequest, fetch_all
from recon.fetch.plan import AccountPlan, Plan
from recon.system.progress import Silent

DAYS = calendar(None)
SINCE, AS_OF = date(2026, 5, 1), date(2026, 5, 14)
SPAN = window(DAYS, SINCE, AS_OF)
RECORD = Record("fill", "1", "{}")
COVERAGE = Coverage("fills", ("fill",), "complete", SPAN.start, SPAN.end, SPAN.start, SPAN.end)


class Unprintable(Exception):
    """An exception that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError("and this is another one")


def unexpected() -> list[BaseException]:
    """Return one exception of each kind that nobody expects."""
    return [
        ValueError("garbage"),
        KeyError("data"),
        RecursionError("maximum recursion depth exceeded"),
        MemoryError(),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        ValueError("a lone surrogate: \ud800"),
        duckdb.ConversionException("no number"),
        duckdb.InternalException("a bug of DuckDB"),
        AssertionError(),
        ExceptionGroup("two", [ValueError("one"), OSError("other")]),
        PermissionError(errno.EACCES, "Permission denied"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        sqlite3.DatabaseError("malformed"),
        IdentityError("off by one"),
        ReconError("of no kind"),
        StopAsyncIteration(),
        Unprintable(),
        asyncio.CancelledError("by a library, and not by us"),
    ]


def names(errors: Sequence[BaseException]) -> list[str]:
    return [f"{number}-{type(one).__name__}" for number, one in enumerate(errors)]


UNEXPECTED = unexpected()


@dataclass(slots=True)
class Tiny:
    """A source of one record, which raises `error` at a step: none, or one of `GOT`."""

    account: str
    step: str = ""
    error: BaseException | None = None
    venue: str = "tiny"
    promises: tuple[EvidenceSpec, ...] = ()

    def _at(self, step: str) -> None:
        if step == self.step and self.error is not None:
            raise self.error

    def fetch(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        self._at("called")
        return self._items()

    async def _items(self) -> AsyncGenerator[Record | Table | Coverage, None]:
        try:
            self._at("before")
            yield RECORD
            await asyncio.sleep(0)
            self._at("within")
            yield COVERAGE
            self._at("after")
        finally:
            self._at("closed")

    async def check(self) -> list[CheckItem]:
        return []


GOT = {"called": 0, "before": 0, "within": 1, "after": 2, "closed": 2}
"""How many items of a source have come at each step."""


def plan(*sources: Tiny) -> Plan:
    accounts = [
        AccountPlan(FlexAccount.model_construct(id=one.account), DAYS, SPAN, one) for one in sources
    ]
    return Plan(AS_OF, tuple(accounts), ())


def fetch(*sources: Tiny) -> dict[str, tuple[list[object], str]]:
    """Return what was got of each source, and its error."""

    def books(_: object) -> DatabaseRequest:
        raise AssertionError("there are no bots")

    hauls = asyncio.run(fetch_all(plan(*sources), lambda one: one.window, books, Silent()))
    return {haul.account: ([*haul.items], haul.error) for haul in hauls}


@pytest.mark.parametrize("error", UNEXPECTED, ids=names(UNEXPECTED))
def test_whatever_a_source_raises_at_whatever_step_is_its_own_failure(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    for step in GOT:
        caplog.clear()
        bad = fetch(Tiny("one"), Tiny("bad", step, error), Tiny("other"))
        assert bad["one"] == bad["other"] == ([RECORD, COVERAGE], "")
        said = bad["bad"][1]
        # Python itself puts a RuntimeError in the place of this one, where a generator raises it.
        kind = type(error).__name__
        assert kind in said or (kind == "StopAsyncIteration" and "RuntimeError" in said)
        assert " in recon/fetch/fetch.py:" in said
        assert said.endswith("this is a defect of recon: report it with the log")
        said.encode()
        [entry] = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert "tiny bad" in entry.getMessage()
        assert "Traceback (most recent call last)" in entry.getMessage()
        entry.getMessage().encode()
        assert bad["bad"][0] == [RECORD, COVERAGE][: GOT[step]]


@pytest.mark.parametrize(
    "error",
    [VenueRefused("no such key"), BotDatabaseError("no table \ud800"), ConfigError("no day")],
)
def test_an_error_that_is_expected_keeps_its_words_and_is_no_defect(
    error: ReconError, caplog: pytest.LogCaptureFixture
) -> None:
    said = fetch(Tiny("one"), Tiny("bad", "within", error))
    assert said["one"][1] == ""
    assert said["bad"][1] == str(error).replace("\ud800", "\\ud800")
    assert caplog.records == []


def full() -> Iterator[BaseException]:
    yield OSError(errno.ENOSPC, "No space left on device", "/scratch/books")
    yield OSError(errno.EDQUOT, "Disk quota exceeded")
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    yield error
    wrapped = BotDatabaseError("the copy cannot be made")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    yield wrapped


@pytest.mark.parametrize("error", list(full()))
def test_a_full_disk_of_ours_is_no_failure_of_a_source(error: BaseException) -> None:
    with pytest.raises(StateError, match="no space left on the disk") as raised:
        fetch(Tiny("one"), Tiny("bad", "within", error))
    assert raised.value.exit_code is ExitCode.UNPROVEN


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(1), StateError("damaged"), LockedError("held")]
)
def test_what_is_about_the_whole_command_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), contained("okx one"):
        raise error


def test_a_cancellation_of_ours_passes() -> None:
    async def cancelled() -> None:
        with contained("okx one"):
            await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_a_reason_is_one_line_of_bounded_length_that_names_the_place() -> None:
    def parse() -> None:
        raise ValueError("line\n" * 1000)

    with pytest.raises(DefectError) as raised, contained("okx one"):
        parse()
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < LONGEST_TEXT + 200
    assert isinstance(raised.value.__cause__, ValueError)
    assert "an unknown place" in reason(ValueError("never raised"), "okx one")


def test_only_what_is_no_error_of_our_files_is_looked_for_among_the_sources() -> None:
    assert is_of_one_source(duckdb.ConversionException("no number"))
    assert is_of_one_source(IdentityError("an audit found a row"))
    assert is_of_one_source(EvidenceError("no answer"))
    assert not is_of_one_source(StateError("damaged"))
    assert not is_of_one_source(duckdb.IOException("could not write"))
    assert not is_of_one_source(OSError(errno.ENOSPC, "No space left on device"))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_every_culprit_is_found_and_nobody_else(drawn: tuple[int, set[int]]) -> None:
    count, bad = drawn
    tried: list[int] = []

    def failing(group: Sequence[int]) -> Exception | None:
        tried.append(len(group))
        worst = next((one for one in group if one in bad), None)
        return None if worst is None else ValueError(worst)

    if not bad:
        return
    found = culprits(range(count), ValueError("all"), failing)
    assert set(found) == bad
    assert count == 1 or all(error.args == (one,) for one, error in found.items())
    depth = math.ceil(math.log2(count)) if count > 1 else 0
    assert len(tried) <= 2 * depth * len(bad)
    assert sum(tried) <= 2 * (count + depth) * len(bad)


def test_what_fails_only_together_has_no_culprit() -> None:
    def failing(group: Sequence[str]) -> Exception | None:
        return ValueError() if {"a", "z"} <= set(group) else None

    assert culprits(["a", "b", "z"], ValueError(), failing) == {}


def test_the_exit_status_of_a_defect_of_one_source_is_3() -> None:
    assert DefectError("x").exit_code is ExitCode.UNPROVEN
    assert isinstance(DefectError("x"), EvidenceError)
