"""The nightly run, top to bottom: open, fetch, land, model, judge, publish, page.

`run_night` reads like its description. Everything it needs is passed in: the configuration, the
clock, how patient to be, and what to tell of its progress.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.patience import Patience
from recon.assignments import latest
from recon.baseline import SignedOff
from recon.breaks import Break, Sighting
from recon.claims import Landed, keep_claims
from recon.config import Config
from recon.document import DocumentBuilder, Fetched
from recon.domain import Clock
from recon.errors import UsageError
from recon.fetch import BooksWanted, Haul, fetch_all, remind, unread, unread_books
from recon.heartbeats import last_beats
from recon.judgement import Tolerance
from recon.ledger import LEDGER, Ledger
from recon.models import build, configure, note_told
from recon.paging.channels import outlets
from recon.paging.delivery import Watched, decide, deliver, told_pages
from recon.paging.page import Page, runs_again
from recon.plan import Plan, begun, make_plan
from recon.progress import Progress, Silent
from recon.publication import (
    WAREHOUSE,
    kept,
    known_ledger,
    opened,
    publish,
    verify,
)
from recon.reading import copied
from recon.sessions import Calendar
from recon.stages import Stages
from recon.state import locked_state, storing, write_whole
from recon.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Night:
    """What one run is asked for. `as_of` None is the last session that has ended.

    `asked_for` is a bot whose trades are looked at though it may be right.
    """

    config: Config
    as_of: date | None = None
    accounts: tuple[str, ...] = ()
    is_fetching: bool = True
    is_paging: bool = True
    asked_for: str | None = None
    now: Clock = lambda: datetime.now(UTC)
    patience: Patience | None = None
    lock_patience_s: float = 0.0
    progress: Progress = field(default_factory=Silent)
    stages: Stages = field(default_factory=Stages)


def run_night(night: Night) -> dict[str, Any]:
    """Do one night and return its document. Raises ConfigError, UsageError, LockedError."""
    config, note, stage = night.config, night.progress.note, night.stages
    channels = outlets(config.paging)
    plan = make_plan(
        config, as_of=night.as_of, accounts=night.accounts, now=night.now, patience=night.patience
    )
    run = uuid.uuid4().hex[:16]
    with (
        storing(config.state),
        locked_state(config.state, patience_s=night.lock_patience_s, note=note) as state,
        known_ledger(state) as ledger,
        ledger.running(run, plan.as_of, night.now) as started,
    ):
        with ExitStack() as until_committed:
            with stage("open"):
                warehouse, lost = until_committed.enter_context(opened(state, ledger))
            _say_lost(night, ledger, lost)
            with stage("fetch"):
                hauls = _fetch(night, plan, ledger, warehouse)
            note("landing the evidence, building the numbers")
            with stage("commit"):
                with kept(warehouse, ledger, run, started):
                    document, found = _tell(night, plan, run, hauls, started, ledger, warehouse)
                warehouse.checkpoint()
        with stage("publish"):
            tables = verify(state, ledger)
            with ledger.step():
                paged = _note(night, plan, ledger, document, found)
            told = {one.account.id for one in plan.accounts}
            is_whole = night.is_fetching and told.issuperset(begun(config, plan.as_of))
            if is_whole and ledger.is_latest(plan.as_of):
                publish(state, tables, document)
            _report(night, document)
            ledger.publish_run(run, plan.as_of, night.now(), document, is_whole=is_whole)
        with stage("page"):
            if night.is_paging:
                deliver(state, ledger, channels, night.now, note)
                document["pages"] = told_pages(ledger, paged)
            ledger.end_run(run, night.now(), document)
            _report(night, document)
    return document


def _tell(
    night: Night,
    plan: Plan,
    run: str,
    hauls: Sequence[Haul],
    started: datetime,
    ledger: Ledger,
    warehouse: Warehouse,
) -> tuple[dict[str, Any], list[Break]]:
    """Land what was fetched, build every number, judge; return the document and its breaks."""
    with night.stages("land"):
        stood = [
            warehouse.land(run, haul.venue, haul.account, haul.items, started) for haul in hauls
        ]
    books = {
        haul.account: Landed(haul.items, before)
        for haul, before in zip(hauls, stood, strict=True)
        if haul.venue == "books"
    }
    unreadable = _model(night, plan, run, hauls, books, warehouse, ledger)
    with night.stages("judge"):
        signed = _signed_off(night.config, plan, ledger)
        document, found = _judge(night, plan, run, hauls, unreadable, signed, warehouse)
        note_told(
            warehouse,
            [a["account"] for a in document["accounts"] if a["total"]["net"] is not None],
        )
    return document, found


def _note(
    night: Night, plan: Plan, ledger: Ledger, document: dict[str, Any], found: Sequence[Break]
) -> list[dict[str, Any]]:
    """Note tonight's breaks, and what there is to page of them; return the incidents paged."""
    document["breaks"] = _note_breaks(night, plan, ledger, document, found)
    document["journal"] = ledger.journal_end()._asdict()
    if not night.is_paging:
        return []
    ledger.enqueue(runs_again(), night.now())
    watched = Watched(
        {account.id for account in night.config.accounts}, {bot.id for bot in night.config.bots}
    )
    return decide(ledger, document, found, str(night.config.path), night.now(), watched)


def _say_lost(night: Night, ledger: Ledger, lost: str) -> None:
    """Tell of a warehouse that has lost something; the night is done all the same."""
    if not lost:
        return
    night.progress.note(lost)
    if night.is_paging:
        body = f"{lost}. What the venues still serve of it is fetched again; see the next reports."
        page = Page(
            "warehouse-lost", "recon: the warehouse had lost what was committed", body, "major"
        )
        ledger.enqueue(page, night.now())


class _UndoneError(Exception):
    """Ends a transaction of which nothing is to stay."""


@contextmanager
def rehearsed(night: Night, bot: str) -> Iterator[tuple[dict[str, Any], Warehouse]]:
    """Judge a bot's account again, on a copy of what is stored; then nothing of it stays.

    Yields the document and the warehouse as that night would leave it. Raises UsageError for a bot
    that is not configured, or before any run; LockedError where it cannot be copied for longer than
    `night.lock_patience_s`.
    """
    account = next((one.account for one in night.config.bots if one.id == bot), None)
    if account is None:
        names = ", ".join(one.id for one in night.config.bots) or "none"
        raise UsageError(f"there is no bot {bot!r} in the configuration: {names}")
    plan = make_plan(
        night.config, as_of=night.as_of, accounts=[account], now=night.now, patience=night.patience
    )
    folder = night.config.state
    if not (folder / WAREHOUSE).exists() and not (folder / LEDGER).exists():
        raise UsageError(f"there is no evidence in {folder} yet: run recon run first")
    quiet = replace(night, is_fetching=False, is_paging=False, asked_for=bot)
    patience_s, note = night.lock_patience_s, night.progress.note
    with (
        storing(folder),
        known_ledger(folder) as ledger,
        copied(folder, ledger, patience_s=patience_s, note=note) as copy,
        opened(copy, ledger) as (warehouse, _),
    ):
        try:
            with warehouse.transaction():
                unreadable = _model(quiet, plan, "", [], {}, warehouse, ledger)
                signed = _signed_off(night.config, plan, ledger)
                document, _ = _judge(quiet, plan, "", [], unreadable, signed, warehouse)
                yield document, warehouse
                raise _UndoneError
        except _UndoneError:
            return


def read_back(
    config: Config, as_of: date | None, known_at: datetime, accounts: Sequence[str]
) -> dict[str, Any]:
    """Return what was told of a session until an instant, as it was told; nothing is worked out.

    Raises UsageError where nothing was.
    """
    path = config.state / LEDGER
    document = None
    if path.exists():
        with storing(config.state), Ledger(path) as ledger:
            document = ledger.told(as_of, known_at, accounts)
    if document is None:
        of = "anything" if as_of is None else f"session {as_of}"
        raise UsageError(
            f"--known-at: no run that ended by {known_at:%Y-%m-%d %H:%M} UTC had told of {of}"
            f"{' and ' + ', '.join(accounts) if accounts else ''}: name a later time"
        )
    return document


def _fetch(night: Night, plan: Plan, ledger: Ledger, warehouse: Warehouse) -> list[Haul]:
    """Fetch what is not known yet; of an account that was not proven, the whole window again."""
    if not night.is_fetching:
        return []
    for one in plan.accounts:
        remind(warehouse, one)
    wanted = {
        one.account.id: one.window
        if ledger.was_unproven(one.account.id)
        else unread(warehouse, one)
        for one in plan.accounts
    }
    books = {
        one.bot.id: unread_books(warehouse, plan.of(one.bot.account), one, night.now())
        if ledger.was_agreed(one.bot.id)
        else BooksWanted(plan.of(one.bot.account).window)
        for one in plan.bots
    }
    return asyncio.run(fetch_all(plan, wanted, books, night.progress))


def _model(
    night: Night,
    plan: Plan,
    run: str,
    hauls: Sequence[Haul],
    books: Mapping[str, Landed],
    warehouse: Warehouse,
    ledger: Ledger,
) -> dict[str, str]:
    """Build every table from what has landed; return why which bots' books could not be read."""
    bots = [one.bot for one in plan.bots]
    accounts = [(one.account, one.window, one.days) for one in plan.accounts]
    assigned = latest(ledger.assignments()).values()
    configure(warehouse, accounts, bots, night.now(), night.asked_for, assigned, shared=plan.shared)
    failed = {haul.account: haul.error for haul in hauls if haul.venue == "books" and haul.error}
    with night.stages("claims"):
        unreadable = keep_claims(warehouse, plan, books, failed)
    methods = {one.account.id: one.account.lots for one in plan.accounts}
    build(warehouse, run, methods, night.stages)
    return unreadable


def _judge(
    night: Night,
    plan: Plan,
    run: str,
    hauls: Sequence[Haul],
    unreadable: Mapping[str, str],
    signed_off: Mapping[str, SignedOff],
    warehouse: Warehouse,
) -> tuple[dict[str, Any], list[Break]]:
    """Return the document, without breaks, journal and pages yet, and the breaks found."""
    errors = {haul.account: haul.error for haul in hauls if haul.venue != "books" and haul.error}
    fetched = {
        one.account.id: Fetched(
            is_reached=one.account.id not in errors,
            was_asked=night.is_fetching,
            reason=errors.get(one.account.id, ""),
        )
        for one in plan.accounts
    }
    settings = night.config.recon
    return DocumentBuilder(
        warehouse,
        run,
        Tolerance(settings.tolerance_pct, settings.tolerance_abs),
        [(one.account, one.window, one.source.promises) for one in plan.accounts],
        [one.bot for one in plan.bots],
        fetched,
        unreadable,
        last_beats(night.config, night.now),
    ).build(plan.as_of, signed_off)


def _signed_off(config: Config, plan: Plan, ledger: Ledger) -> dict[str, SignedOff]:
    """Return the sign-offs that hold as of tonight's sessions, by bot."""
    found = {}
    for one in plan.bots:
        window = plan.of(one.bot.account).window
        found[one.bot.id] = ledger.signed_off(
            one.bot.account,
            one.bot.id,
            since=window.first.date,
            session=window.last.date,
            signers=config.recon.sign_off_by,
        )
    return {bot: signed for bot, signed in found.items() if signed is not None}


def _note_breaks(
    night: Night, plan: Plan, ledger: Ledger, document: Mapping[str, Any], found: Sequence[Break]
) -> list[dict[str, Any]]:
    """Note tonight's breaks; return those that stand, as the document shows them."""

    def age(account: str, first: date) -> int:
        return _sessions_between(plan.of(account).days, first, plan.as_of)

    sighting = Sighting(
        run=document["run"],
        at=night.now(),
        session=plan.as_of,
        accounts={one.account.id for one in plan.accounts},
        judged={
            (bot["account"], bot["bot"]): _why_none(bot)
            for bot in document["bots"]
            if bot["status"] != "unproven"
        },
        found=found,
        age=age,
    )
    ours = {(one.bot.account, one.bot.id) for one in plan.bots}
    return [
        row | {"age_sessions": age(row["account"], date.fromisoformat(row["first_seen"]))}
        for row in ledger.see_breaks(sighting)
        if (row["account"], row["bot"]) in ours and row["first_seen"] <= plan.as_of.isoformat()
    ]


def _why_none(bot: Mapping[str, Any]) -> str:
    """Return why a bot that was judged has no break where none was found."""
    signed = bot["signed_off"]
    if signed is None:
        return "the evidence agrees, within the tolerance"
    return f"within the tolerance beyond what {signed['by']} signed off as of {signed['as_of']}"


def _sessions_between(days: Calendar, first: date, last: date) -> int:
    count = 0
    session = days.session(last)
    while session.date > first:
        count += 1
        session = days.session(session.date - timedelta(days=1))
    return count


def report_path(night: Night, as_of: str) -> Path:
    """Return the file of a session's report; that of a run of named accounts has their names."""
    name = ".".join([as_of, *sorted(set(night.accounts))])
    return night.config.state / "reports" / f"{name}.json"


def _report(night: Night, document: Mapping[str, Any]) -> None:
    """Write the session's report."""
    path = report_path(night, document["as_of"])
    write_whole(path, json.dumps(document, indent=1) + "\n")
