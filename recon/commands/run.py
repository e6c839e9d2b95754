"""The command run: the nightly run, a run of one session, or an earlier report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    read_date,
    verbose_option,
)
from recon.errors import ExitCode, UsageError, clean_up
from recon.system.output import note

if TYPE_CHECKING:
    from recon.config.settings import Config
    from recon.run.service import Done

NO_VENUE = ("url", "redis", "api_token")
"""The secrets that a run without fetching needs: those of heartbeats and channels."""


@click.command()
@config_option
@click.option(
    "--as-of",
    metavar="DATE",
    help="The session to reconcile, YYYY-MM-DD [default: the last one that has ended].",
)
@click.option(
    "--known-at",
    metavar="TIME",
    help="Print what was reported until this time (UTC, such as 2026-05-15T08:00), as it was "
    "reported; with --as-of, for that session. Nothing is fetched.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="ID",
    help="Reconcile only this account and its bots; may be repeated.",
)
@click.option(
    "--no-fetch", is_flag=True, help="Ask no venue and need no venue key: use the stored evidence."
)
@click.option("--no-page", is_flag=True, help="Send no page.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait, at most, for another command that holds the state "
    "[default: 60 for the nightly run, else 0].",
)
@json_option
@verbose_option
def run(  # noqa: PLR0913, PLR0917 - click passes each option as an argument
    config_path: Path,
    as_of: str | None,
    known_at: str | None,
    accounts: tuple[str, ...],
    no_fetch: bool,
    no_page: bool,
    wait_s: float | None,
    is_json: bool,
    verbosity: int,
) -> int:
    """Reconcile a session: fetch, compute, judge, publish, page.

    Without --as-of, --account and --no-fetch it is the nightly run that cron starts. It catches up
    on missed sessions first, makes a backup, and pages if it fails. --json prints the document of
    the last session. The exit code is that of the worst session.
    """
    log(verbosity)
    session = None if as_of is None else read_date(as_of)
    if known_at is not None:
        return _read_back(config_path, session, _instant(known_at), accounts, is_json, verbosity)
    is_nightly = session is None and not accounts and not no_fetch
    asked = {
        "as_of": session,
        "accounts": accounts,
        "is_fetching": not no_fetch,
        "is_paging": not no_page,
    }
    if not is_nightly:
        config = load_config(config_path, with_secrets=NO_VENUE if no_fetch else True)
        done = _done(config, asked, wait_s, verbosity, is_nightly=False)
        return _show(done, is_json, verbosity)
    from recon.run.dead_man_switch import address, pinged

    with pinged(address(config_path), note) as outside:
        with _failures(config_path, is_paging=not no_page):
            config = load_config(config_path)
            done = _done(config, asked, wait_s, verbosity, is_nightly=True)
        outside.published(done.documents, _status(done), done.problem)
        return _show(done, is_json, verbosity)


@contextmanager
def _failures(config_path: Path, *, is_paging: bool) -> Iterator[None]:
    """Page an error that ends the block, unless a person at a terminal sees it."""
    try:
        yield
    except Exception as error:
        if is_paging and not sys.stderr.isatty():
            from recon.paging.failure import page_failed

            page = partial(page_failed, config_path, error, lambda: datetime.now(UTC), note)
            clean_up(page, after=error)
        raise


def _done(
    config: Config,
    asked: dict[str, Any],
    wait_s: float | None,
    verbosity: int,
    *,
    is_nightly: bool,
) -> Done:
    from recon.run.nightly import Night
    from recon.run.service import PATIENCE_S, nightly, one_session
    from recon.system.progress import progress
    from recon.system.timing import Stages

    for warning in config.warnings:
        note(f"warning: {warning}")
    stages = Stages()
    with progress() as shown:
        if wait_s is None:
            wait_s = PATIENCE_S if is_nightly else 0.0
        night = Night(config, **asked, lock_patience_s=wait_s, progress=shown, stages=stages)
        done = nightly(night) if is_nightly else one_session(night)
    if verbosity:
        from recon.report.terminal import print_stages

        print_stages(stages.seconds)
    return done


def _status(done: Done) -> int:
    """Return the worst exit status of the sessions (1 before 3 before 0), or 3 for a problem.

    Otherwise a divergence would hide a failed backup.
    """
    from recon.core.tolerance import EXIT_CODES, run_status

    if done.problem:
        return ExitCode.UNPROVEN
    return EXIT_CODES[run_status([], [document["status"] for document in done.documents])]


def _show(done: Done, is_json: bool, verbosity: int) -> int:
    """Print each session's document, or as JSON only the last; return the exit status."""
    shown = done.documents[-1:] if is_json else done.documents
    for document in shown:
        _show_document(document, is_json=is_json, verbosity=verbosity)
    if not is_json:
        note(f"report: {done.report}")
    if done.problem:
        note(f"recon: {done.problem}")
    return _status(done)


def _read_back(
    config_path: Path,
    session: date | None,
    instant: datetime,
    accounts: tuple[str, ...],
    is_json: bool,
    verbosity: int,
) -> int:
    config = load_config(config_path, with_secrets=False)
    from recon.core.tolerance import EXIT_CODES
    from recon.run.nightly import read_back

    document = read_back(config, session, instant, accounts)
    _show_document(document, is_json=is_json, verbosity=verbosity)
    return EXIT_CODES[document["status"]]


def _show_document(document: dict[str, Any], *, is_json: bool, verbosity: int) -> None:
    if is_json:
        print_json(document)
    else:
        from recon.report.terminal import print_document

        print_document(document, verbosity=verbosity)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--known-at {text}: write the time as YYYY-MM-DDTHH:MM, UTC") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
