"""The nightly run that cron starts: reconcile every due session, then make a backup.

Missed sessions are reconciled before the last one, the earliest first. A run that fails without
publishing anything is paged, since it would be silent otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from recon.config.settings import Config
from recon.core.calendars import calendar
from recon.core.records import Clock
from recon.errors import AnotherNight, ConfigError, LockedError, StateError
from recon.fetch.plan import active_accounts, assert_since, last_day
from recon.paging.failure import page_failure
from recon.run.backup import assert_unaltered, back_up
from recon.run.nightly import Night, report_path, run_night
from recon.system.interruption import heed
from recon.system.state_folder import locked_state, storing
from recon.warehouse.commit import known_ledger

NIGHT_LOCK = "night.lock"
PATIENCE_S = 60.0
"""How long the nightly run waits for a command that reads the state, such as `recon explain`."""
NO_BACKUP = "the run was published, and it has NO BACKUP"


class Done(NamedTuple):
    """The result of a run: a document for each session, the last report, a remaining problem."""

    documents: list[dict[str, Any]]
    report: Path
    problem: str = ""


def one_session(night: Night) -> Done:
    """Reconcile the one session that was asked for."""
    document = run_night(night)
    return Done([document], report_path(night, document["as_of"]))


def nightly(night: Night) -> Done:
    """Reconcile every due session, as the only nightly run, and make a backup.

    Between two sessions other commands may read the state. The run waits for them to end, for at
    most `night.lock_patience_s`. Raises AnotherNight if another nightly run is in progress.
    """
    with ExitStack() as alone:
        try:
            alone.enter_context(locked_state(night.config.state, NIGHT_LOCK))
        except LockedError as error:
            raise AnotherNight(str(error)) from None
        return _sessions(night)


def _sessions(night: Night) -> Done:
    """Reconcile every due session, then make a backup.

    If a session fails, the later ones are reconciled all the same. The first failure is raised at
    the end, and that session stays due. A failed backup is paged and returned as `Done.problem`.
    """
    documents: list[dict[str, Any]] = []
    failures: list[Exception] = []
    sessions = due(night.config, night.now, patience_s=night.lock_patience_s)
    assert_unaltered(night.config.state, patience_s=night.lock_patience_s)
    for session in sessions:
        if documents or failures:
            night.progress.note(f"next: session {session}")
        try:
            documents.append(run_night(_of(night, session)))
        except (ConfigError, LockedError, StateError):
            raise
        except Exception as error:  # noqa: BLE001 - raised after the later sessions
            heed()
            failures.append(error)
            is_first = str(error) == str(failures[0])  # its error is printed as the command ends
            night.progress.note(f"session {session} failed" + ("" if is_first else f": {error}"))
    problem = _backed_up(night, documents[-1]) if documents else ""
    if failures:
        raise failures[0]
    return Done(documents, report_path(_of(night, sessions[-1]), documents[-1]["as_of"]), problem)


def _backed_up(night: Night, document: Mapping[str, Any]) -> str:
    """Make a backup; if that fails, page and return the reason."""
    try:
        back_up(night.config.state, document, night.now, patience_s=night.lock_patience_s)
    except (StateError, LockedError) as error:
        if night.is_paging:
            page_failure(night.config.path, NO_BACKUP, str(error), night.now, night.progress.note)
        return f"{NO_BACKUP}: {error}"
    return ""


def _of(night: Night, session: date) -> Night:
    """Return the run of one session, with the accounts that were active in it."""
    there = active_accounts(night.config, session)
    is_all = len(there) == len(night.config.accounts)
    return replace(night, as_of=session, accounts=() if is_all else tuple(there))


def due(config: Config, now: Clock, *, patience_s: float = 0.0) -> list[date]:
    """Return the expected sessions that were never published, and the last one that has ended.

    The earliest comes first. All of them are expected from now on.
    """
    for account in config.accounts:
        assert_since(account, config.path, now)
    last = last_day(config.accounts, now)
    calendars = [calendar(name) for name in {account.calendar for account in config.accounts}]
    with (
        storing(config.state),
        locked_state(config.state, patience_s=patience_s) as state,
        known_ledger(state) as ledger,
    ):
        missing = ledger.expect(last, calendars, now())
    return [*(day for day in missing if day != last and active_accounts(config, day)), last]
