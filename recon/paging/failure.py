"""Pages of a night that failed, or left something undone: also where the configuration is wrong.

Loads neither the warehouse nor a venue: a mistake in the configuration is told at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recon.config.settings import salvage
from recon.core.records import Clock
from recon.errors import AnotherNight, ReconError, summary
from recon.paging.channels import outlets
from recon.paging.delivery import page_at_once
from recon.report.page_text import failed

Note = Callable[[str], None]


def page_failed(config_path: Path, error: Exception, now: Clock, note: Note) -> None:
    """Page of what ended a night, also of a configuration that is wrong.

    Another night is no failure: it does the work. Anything else that holds the lock does not.
    """
    if isinstance(error, AnotherNight):
        return
    why = str(error) if isinstance(error, ReconError) else "a bug: its log has all of it"
    page_failure(config_path, f"the night FAILED: {summary(error)}", why, now, note)


def page_failure(config_path: Path, what: str, why: str, now: Clock, note: Note) -> None:
    """Page of a night that failed, or left something undone: never raises for what is broken."""
    saved = salvage(config_path)
    if saved is None:
        note(f"nobody can be paged: {config_path} cannot be read")
        return
    state, paging = saved
    channels = outlets(paging, is_strict=False)
    page = failed(what, why, str(config_path.absolute()))
    page_at_once(state, page, channels, now, note)
