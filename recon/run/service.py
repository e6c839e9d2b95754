"""What cron calls: every session that is due, each once, a backup, and a page where it fails.

A session that was missed is caught up before the last one is told, the earliest first. What ends
without having told anything is paged: a run that fails is silent otherwise.
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
"""How long the night waits for whoever looks at the state: `recon explain` takes seconds."""
NO_BACKUP = "the night was published, and there is NO BACKUP of it"


class Done(NamedTuple):
    """What a night came to: a document for each session, the last one's report, what is undone."""

    documents: list[dict[str, Any]]
    report: Path
    problem: str = ""


def one_session(night: Night) -> Done:
    """Do the one session that a night is asked for."""
    document = run_night(night)
    return Done([document], report_path(night, document["as_of"]))


def nightly(night: Night) -> Done:
    """Do every session that is due, as the only night, and back up what came of it.

    Between two sessions others may look at the state: that they end is waited for, as long as
    `night.lock_patience_s` says. Raises AnotherNight where there is one already.
    """
    with ExitStack() as alone:
        try:
            alone.enter_context(locked_state(night.config.state, NIGHT_LOCK))
        except LockedError as error:
            raise AnotherNight(str(error)) from None
        return _sessions(night)


def _sessions(night: Night) -> Done:
    """Do every session that is due; then back up.

    A session that fails does not keep the later ones from being told; then the first failure is
    raised at the end, and that session stays due. A backup that fails is paged, and `Done.problem`.
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
        except Exception as error:  # noqa: BLE001 - it is raised once the later sessions are told
            heed()
            failures.append(error)
            is_first = str(error) == str(failures[0])  # its error is printed as the command ends
            night.progress.note(f"session {session} failed" + ("" if is_first else f": {error}"))
    problem = _backed_up(night, documents[-1]) if documents else ""
    if failures:
        raise failures[0]
    return Done(documents, report_path(_of(night, sessions[-1]), documents[-1]["as_of"]), problem)


def _backed_up(night: Night, document: Mapping[str, Any]) -> str:
    """Back up what was told last; page where that fails, and return why."""
    try:
        back_up(night.config.state, document, night.now, patience_s=night.lock_patience_s)
    except (StateError, LockedError) as error:
        if night.is_paging:
            page_failure(night.config.path, NO_BACKUP, str(error), night.now, night.progress.note)
        return f"{NO_BACKUP}: {error}"
    return ""


def _of(night: Night, session: date) -> Night:
    """Return the night of one session: of a past one, with the accounts that there were by then."""
    there = active_accounts(night.config, session)
    is_all = len(there) == len(night.config.accounts)
    return replace(night, as_of=session, accounts=() if is_all else tuple(there))


def due(config: Config, now: Clock, *, patience_s: float = 0.0) -> list[date]:
    """Return the sessions that were expected and never published, and the last one that has ended.

    The earliest first. From now on they are expected.
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
