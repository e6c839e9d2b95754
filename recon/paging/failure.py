"""Pages of a run that failed or left work undone, also where the configuration is wrong.

It loads neither the warehouse nor a venue, so that a mistake in the configuration is paged at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recon.config.settings import salvage
from recon.core.records import Clock
from recon.errors import AnotherNight, ReconError, summary
from recon.paging.channels import recipients
from recon.paging.delivery import page_at_once
from recon.report.page_text import failed

Note = Callable[[str], None]


def page_failed(config_path: Path, error: Exception, now: Clock, note: Note) -> None:
    """Page the error that ended a run, also if it is a mistake in the configuration.

    `AnotherNight` is no failure: the other run does the work. Another holder of the lock does not.
    """
    if isinstance(error, AnotherNight):
        return
    reason = str(error) if isinstance(error, ReconError) else "a bug: the log has its traceback"
    page_failure(config_path, f"the night FAILED: {summary(error)}", reason, now, note)


def page_failure(config_path: Path, what: str, reason: str, now: Clock, note: Note) -> None:
    """Page a run that failed or left work undone. Never raises for files that are broken."""
    salvaged = salvage(config_path)
    if salvaged is None:
        note(f"nobody can be paged: {config_path} cannot be read")
        return
    state, paging = salvaged
    page = failed(what, reason, str(config_path.absolute()))
    page_at_once(state, page, recipients(paging, is_strict=False), now, note)
