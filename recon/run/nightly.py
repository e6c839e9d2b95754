"""The run of one session: open, fetch, land, model, judge, publish, page.

`run_night` does one session in these steps. Its configuration, clock, patience and progress display
are passed in.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.retry import RetryPolicy
from recon.breaks.claims import Landed, keep_claims, landed
from recon.config.settings import Config
from recon.control.assignments import latest
from recon.control.breaks import Break, BreakObservation
from recon.control.ledger import CONTROL, Ledger
from recon.control.sign_offs import SignedOff
from recon.core.calendars import Calendar
from recon.core.page import Page
from recon.core.records import Clock, Window
from recon.core.tolerance import Tolerance
from recon.errors import UsageError
from recon.fetch.boundary import culprits, is_of_one_source, reason
from recon.fetch.fetch import (
    DatabaseRequest,
    FetchResult,
    fetch_all,
    rows_to_fetch,
    skip_known_ids,
    window_to_fetch,
)
from recon.fetch.heartbeats import last_beats
from recon.fetch.plan import AccountPlan, BotPlan, Plan, active_accounts, make_plan
from recon.paging.channels import recipients
from recon.paging.delivery import Watched, decide, deliver, page_results
from recon.report.document import DocumentBuilder, Fetched, add_unjudged
from recon.report.page_text import runs_again
from recon.run.pipeline import build, configure, record_reported
from recon.run.read_published import copied
from recon.system.interruption import heed
from recon.system.progress import Progress, Silent
from recon.system.state_folder import locked_state, storing, write_whole
from recon.system.timing import Stages
from recon.warehouse.commit import (
    WAREHOUSE,
    commit_with_manifest,
    known_ledger,
    open_verified,
    publish,
    verify,
)
from recon.warehouse.database import Warehouse


@dataclass(frozen=True, slots=True)
class Night:
    """The request of one run. `as_of` None is the last session that has ended.

    `asked_for` is a bot whose causes are computed even if it agrees.
    """

    config: Config
    as_of: date | None = None
    accounts: tuple[str, ...] = ()
    is_fetching: bool = True
    is_paging: bool = True
    asked_for: str | None = None
    now: Clock = lambda: datetime.now(UTC)
    patience: RetryPolicy | None = None
    lock_patience_s: float = 0.0
    progress: Progress = field(default_factory=Silent)
    stages: Stages = field(default_factory=Stages)


def run_night(night: Night) -> dict[str, Any]:
    """Run one session and return its document. Raises ConfigError, UsageError, LockedError."""
    config, note, stage = night.config, night.progress.note, night.stages
    channels = recipients(config.paging)
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
                warehouse, lost = until_committed.enter_context(open_verified(state, ledger))
            _report_loss(night, ledger, lost)
            with stage("fetch"):
                hauls = _fetch(night, plan, ledger, warehouse)
                beats = last_beats(config, night.now)
            note("landing the evidence, computing the numbers")
            work = Work(night, run, started, beats, ledger, warehouse)
            with stage("commit"):
                judged, document, found = commit(work, plan, hauls)
                warehouse.checkpoint()
        with stage("publish"):
            tables = verify(state, ledger)
            with ledger.step():
                paged = _record(night, judged, ledger, document, found)
            asked = {one.account.id for one in plan.accounts}
            is_whole = night.is_fetching and asked.issuperset(active_accounts(config, plan.as_of))
            if is_whole and ledger.is_latest(plan.as_of):
                publish(state, tables, document)
            _report(night, document)
            ledger.publish_run(run, plan.as_of, night.now(), document, is_whole=is_whole)
        with stage("page"):
            if night.is_paging:
                deliver(state, ledger, channels, night.now, note)
                document["pages"] = page_results(ledger, paged)
            ledger.end_run(run, night.now(), document)
            _report(night, document)
    return document


Source = tuple[str, str]
"""A source: its venue and its account, or `bot_database` and its bot."""
LEFT_OUT = "left out of a trial"


@dataclass(frozen=True, slots=True)
class Work:
    """The state of a run that its transaction needs, beside the plan and the fetched evidence."""

    night: Night
    run: str
    started: datetime
    beats: Mapping[str, datetime]
    ledger: Ledger
    warehouse: Warehouse


def commit(
    work: Work, plan: Plan, hauls: Sequence[FetchResult]
) -> tuple[Plan, dict[str, Any], list[Break]]:
    """Commit the run; return the plan of the judged accounts, the document and its breaks.

    If that fails, the sources at fault are found, and the run is done without them: they count as
    failed. Raises the error if no source is at fault.
    """
    try:
        return plan, *_committed(work, plan, hauls)
    except Exception as error:
        if not is_of_one_source(error):
            raise
        failure = error
    heed()  # a statement that a signal has ended is no source's fault
    work.night.progress.note("the run failed: looking for the source at fault")
    left_out, unjudged = _at_fault(work, plan, hauls, failure)
    if not left_out and not unjudged:
        raise failure
    reasons = {source: reason(error, " ".join(source)) for source, error in left_out.items()}
    lost = {name: reason(error, f"account {name}") for name, error in unjudged.items()}
    rest = plan.only(one.account.id for one in plan.accounts if one.account.id not in lost)
    document, found = _committed(work, rest, _without(hauls, reasons))
    add_unjudged(
        document,
        [(one.account, one.window, lost[one.account.id]) for one in plan.only(lost).accounts],
        [one.bot for one in plan.only(lost).bots],
    )
    return rest, document, found


def _committed(
    work: Work, plan: Plan, hauls: Sequence[FetchResult]
) -> tuple[dict[str, Any], list[Break]]:
    with commit_with_manifest(work.warehouse, work.ledger, work.run, work.started):
        return _compute(work, plan, hauls)


def _at_fault(
    work: Work, plan: Plan, hauls: Sequence[FetchResult], failure: Exception
) -> tuple[dict[Source, Exception], dict[str, Exception]]:
    """Return the sources whose hauls make a run fail, and the accounts that fail without any haul.

    Each trial is a run of some accounts that is rolled back. If every account fails without the
    hauls, the fault is in no source, and both results are empty.
    """
    left_out: dict[Source, Exception] = {}
    unjudged: dict[str, Exception] = {}
    names = [one.account.id for one in plan.accounts]
    accounts = culprits(names, failure, lambda some: _error(work, plan.only(some), hauls))
    for name, error in accounts.items():
        account = plan.only([name])
        sources = _sources(account)

        def trial(some: Collection[Source], account: Plan = account) -> Exception | None:
            others = [source for source in _sources(account) if source not in some]
            return _error(work, account, _without(hauls, dict.fromkeys(others, LEFT_OUT)))

        if (alone := trial([])) is not None:
            unjudged[name] = alone
        else:
            left_out |= culprits(sources, error, trial) or dict.fromkeys(sources, error)
    return ({}, {}) if len(unjudged) == len(names) else (left_out, unjudged)


def _sources(plan: Plan) -> list[Source]:
    return [
        *((one.source.venue, one.source.account) for one in plan.accounts),
        *((one.source.venue, one.source.account) for one in plan.bots),
    ]


def _error(work: Work, plan: Plan, hauls: Sequence[FetchResult]) -> Exception | None:
    """Return the error of a trial run of a plan's sources, or None; the trial is rolled back.

    Raises an error that no single source can cause.
    """
    names = _sources(plan)
    try:
        with work.warehouse.transaction():
            _compute(work, plan, [haul for haul in hauls if (haul.venue, haul.account) in names])
            raise _UndoneError
    except _UndoneError:
        return None
    except Exception as error:
        if not is_of_one_source(error):
            raise
        return error


def _without(hauls: Sequence[FetchResult], left_out: Mapping[Source, str]) -> list[FetchResult]:
    """Return the hauls, with an empty one and its reason in place of each left-out source."""
    rest = [haul for haul in hauls if (haul.venue, haul.account) not in left_out]
    return rest + [FetchResult(*source, error=why) for source, why in left_out.items()]


def _compute(
    work: Work, plan: Plan, hauls: Sequence[FetchResult]
) -> tuple[dict[str, Any], list[Break]]:
    """Land the hauls, compute every number, judge; return the document and its breaks."""
    night, warehouse = work.night, work.warehouse
    with night.stages("land"):
        stood = [
            warehouse.land(work.run, haul.venue, haul.account, haul.items, work.started)
            for haul in hauls
        ]
    databases = {
        haul.account: landed(haul.items, before)
        for haul, before in zip(hauls, stood, strict=True)
        if haul.venue == "bot_database"
    }
    unreadable = _model(work, plan, hauls, databases)
    with night.stages("judge"):
        document, found = _judge(work, plan, hauls, unreadable)
        record_reported(
            warehouse,
            [a["account"] for a in document["accounts"] if a["window"]["net"] is not None],
        )
    return document, found


def _record(
    night: Night, plan: Plan, ledger: Ledger, document: dict[str, Any], found: Sequence[Break]
) -> list[dict[str, Any]]:
    """Record this run's breaks and commit their pages; return the paged incidents."""
    document["breaks"] = _record_breaks(night, plan, ledger, document, found)
    document["journal"] = ledger.journal_end()._asdict()
    if not night.is_paging:
        return []
    ledger.enqueue(runs_again(), night.now())
    watched = Watched(
        {account.id for account in night.config.accounts}, {bot.id for bot in night.config.bots}
    )
    return decide(ledger, document, found, str(night.config.path), night.now(), watched)


def _report_loss(night: Night, ledger: Ledger, lost: str) -> None:
    """Print and page that the warehouse has lost a commit; the run continues."""
    if not lost:
        return
    night.progress.note(lost)
    if night.is_paging:
        body = f"{lost}. This run fetches again what the venues still serve: read the next reports."
        page = Page("warehouse-lost", "recon: the warehouse has lost a commit", body, "major")
        ledger.enqueue(page, night.now())


class _UndoneError(Exception):
    """Rolls back a transaction on purpose."""


@contextmanager
def dry_run(night: Night, bot: str) -> Iterator[tuple[dict[str, Any], Warehouse]]:
    """Judge a bot's account again on a copy of the warehouse, which is then deleted.

    Yields the document, and the warehouse as that run would leave it. Raises UsageError for an
    unknown bot, or before the first run; LockedError if the warehouse cannot be copied within
    `night.lock_patience_s`.
    """
    account = next((one.account for one in night.config.bots if one.id == bot), None)
    if account is None:
        names = ", ".join(one.id for one in night.config.bots) or "none"
        raise UsageError(f"there is no bot {bot!r} in the configuration: use one of {names}")
    plan = make_plan(
        night.config, as_of=night.as_of, accounts=[account], now=night.now, patience=night.patience
    )
    folder = night.config.state
    if not (folder / WAREHOUSE).exists() and not (folder / CONTROL).exists():
        raise UsageError(f"there is no evidence in {folder} yet: run recon run first")
    quiet = replace(night, is_fetching=False, is_paging=False, asked_for=bot)
    patience_s, note = night.lock_patience_s, night.progress.note
    with (
        storing(folder),
        known_ledger(folder) as ledger,
        copied(folder, ledger, patience_s=patience_s, note=note) as copy,
        open_verified(copy, ledger) as (warehouse, _),
    ):
        try:
            work = Work(
                quiet, "", night.now(), last_beats(night.config, night.now), ledger, warehouse
            )
            with warehouse.transaction():
                document, _ = _judge(work, plan, [], _model(work, plan, [], {}))
                yield document, warehouse
                raise _UndoneError
        except _UndoneError:
            return


def read_back(
    config: Config, as_of: date | None, known_at: datetime, accounts: Sequence[str]
) -> dict[str, Any]:
    """Return the last document of a session that was reported by an instant, unchanged.

    Raises UsageError if there is none.
    """
    path = config.state / CONTROL
    document = None
    if path.exists():
        with storing(config.state), Ledger(path) as ledger:
            document = ledger.told(as_of, known_at, accounts)
    if document is None:
        of = "a session" if as_of is None else f"session {as_of}"
        raise UsageError(
            f"--known-at: no run had reported {of}"
            f"{' of ' + ', '.join(accounts) if accounts else ''} by {known_at:%Y-%m-%d %H:%M} UTC: "
            "name a later time"
        )
    return document


def _fetch(night: Night, plan: Plan, ledger: Ledger, warehouse: Warehouse) -> list[FetchResult]:
    """Fetch new evidence, and the whole window of an account that was unproven."""
    if not night.is_fetching:
        return []

    def wanted(one: AccountPlan) -> Window:
        with storing(night.config.state):
            skip_known_ids(warehouse, one)
            is_unproven = ledger.was_unproven(one.account.id)
            return one.window if is_unproven else window_to_fetch(warehouse, one)

    def rows(one: BotPlan) -> DatabaseRequest:
        with storing(night.config.state):
            account = plan.of(one.bot.account)
            if not ledger.was_agreed(one.bot.id):
                return DatabaseRequest(account.window)
            return rows_to_fetch(warehouse, account, one, night.now())

    return asyncio.run(fetch_all(plan, wanted, rows, night.progress))


def _model(
    work: Work, plan: Plan, hauls: Sequence[FetchResult], databases: Mapping[str, Landed]
) -> dict[str, str]:
    """Build every table; return the reasons of the bot databases that cannot be read, by bot."""
    night, warehouse = work.night, work.warehouse
    bots = [one.bot for one in plan.bots]
    accounts = [(one.account, one.window, one.days) for one in plan.accounts]
    assigned = latest(work.ledger.assignments()).values()
    configure(warehouse, accounts, bots, night.now(), night.asked_for, assigned, shared=plan.shared)
    failed = {
        haul.account: haul.error for haul in hauls if haul.venue == "bot_database" and haul.error
    }
    with night.stages("claims"):
        unreadable = keep_claims(warehouse, plan, databases, failed)
    methods = {one.account.id: one.account.lots for one in plan.accounts}
    build(warehouse, work.run, methods, night.stages)
    return unreadable


def _judge(
    work: Work, plan: Plan, hauls: Sequence[FetchResult], unreadable: Mapping[str, str]
) -> tuple[dict[str, Any], list[Break]]:
    """Return the document, still without breaks, journal and pages, and the breaks found."""
    errors = {
        haul.account: haul.error for haul in hauls if haul.venue != "bot_database" and haul.error
    }
    fetched = {
        one.account.id: Fetched(
            is_reached=one.account.id not in errors,
            was_asked=work.night.is_fetching,
            reason=errors.get(one.account.id, ""),
        )
        for one in plan.accounts
    }
    config = work.night.config
    return DocumentBuilder(
        work.warehouse,
        work.run,
        Tolerance(config.recon.tolerance_pct, config.recon.tolerance_abs),
        [(one.account, one.window, one.source.promises) for one in plan.accounts],
        [one.bot for one in plan.bots],
        fetched,
        unreadable,
        work.beats,
    ).build(plan.as_of, _signed_off(config, plan, work.ledger))


def _signed_off(config: Config, plan: Plan, ledger: Ledger) -> dict[str, SignedOff]:
    """Return the sign-offs that hold as of this run's sessions, by bot."""
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


def _record_breaks(
    night: Night, plan: Plan, ledger: Ledger, document: Mapping[str, Any], found: Sequence[Break]
) -> list[dict[str, Any]]:
    """Record this run's breaks; return those that stand, as the document shows them."""

    def age(account: str, first: date) -> int:
        return _sessions_between(plan.of(account).days, first, plan.as_of)

    observation = BreakObservation(
        run=document["run"],
        at=night.now(),
        session=plan.as_of,
        accounts={one.account.id for one in plan.accounts},
        judged={
            (bot["account"], bot["bot"]): _why_cleared(bot)
            for bot in document["bots"]
            if bot["status"] != "unproven"
        },
        found=found,
        age=age,
    )
    ours = {(one.bot.account, one.bot.id) for one in plan.bots}
    return [
        row | {"age_sessions": age(row["account"], date.fromisoformat(row["first_seen"]))}
        for row in ledger.record_breaks(observation)
        if (row["account"], row["bot"]) in ours and row["first_seen"] <= plan.as_of.isoformat()
    ]


def _why_cleared(bot: Mapping[str, Any]) -> str:
    """Return the reason for which a break of a judged bot is cleared if it was not found."""
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
    """Return the path of a session's report; it has the accounts' names if the run names them."""
    name = ".".join([as_of, *sorted(set(night.accounts))])
    return night.config.state / "reports" / f"{name}.json"


def _report(night: Night, document: Mapping[str, Any]) -> None:
    """Write the session's report."""
    path = report_path(night, document["as_of"])
    write_whole(path, json.dumps(document, indent=1) + "\n")
