"""Pages of a night that failed, or left something undone: also where the configuration is wrong.

Loads neither the warehouse nor a venue: a mistake in the configuration is told at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recon.config import Paging, salvage
from recon.domain import Clock
from recon.errors import ConfigError, LockedError, ReconError
from recon.paging.channels import Outlet, outlets
from recon.paging.delivery import page_at_once
from recon.paging.page import failed
from recon.ping import told_of

Note = Callable[[str], None]


def page_failed(config_path: Path, error: Exception, now: Clock, note: Note) -> None:
    """Page of what ended a night, also of a configuration that is wrong.

    Another run that holds the lock is no failure: it does the work.
    """
    if isinstance(error, LockedError):
        return
    why = str(error) if isinstance(error, ReconError) else "a bug: its log has all of it"
    page_failure(config_path, f"the night FAILED: {told_of(error)}", why, now, note)


def page_failure(config_path: Path, what: str, why: str, now: Clock, note: Note) -> None:
    """Page of a night that failed, or left something undone: never raises for what is broken."""
    saved = salvage(config_path)
    if saved is None:
        note(f"nobody can be paged: {config_path} cannot be read")
        return
    state, paging = saved
    if not paging.channels and not paging.escalation:
        note("nobody is paged: there is no channel that can be used")
    page = failed(what, why, str(config_path.absolute()))
    page_at_once(state, page, _usable(paging, note), now, note)


def _usable(paging: Paging, note: Note) -> list[Outlet]:
    """Return those channels that can be used; of the others say why."""
    found: dict[str, Outlet] = {}
    for name in ("channels", "escalation"):
        for one in getattr(paging, name):
            try:
                made = outlets(Paging(**{name: (one,)}))
            except ConfigError as error:
                note(f"PAGE NOT DELIVERED: {error}")
            else:
                found.update((each.id, each) for each in made if each.id not in found)
    return list(found.values())
