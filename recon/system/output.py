"""What this process writes to its terminal: one `echo`, one console, one form of log lines.

Nothing else writes to stdout or stderr: here text loses its secrets, and terminal codes in it
become visible. Child processes write to their parent alone.
"""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import nullcontext, suppress
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from recon.outside_text import redact, shown, visible

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120
"""Columns where a stream is no terminal."""


def echo(text: object, *, err: bool = False) -> None:
    """Print text on stdout, or with `err` on stderr.

    A log on a full disk lacks what was written to stderr, and what is under way goes on.
    """
    with suppress(OSError) if err else nullcontext():
        click.echo(shown(str(text)), err=err)


def note(line: str) -> None:
    """Print a line on stderr: what a command tells beside its answer."""
    echo(line, err=True)


def console(*, err: bool = False, highlight: bool = True) -> Console:
    """Return a console on stdout, or with `err` on stderr, that shows what text really holds.

    With `highlight` it colours numbers and names on a terminal.
    """
    from rich.console import Console
    from rich.text import Text

    class CleanConsole(Console):
        def render_str(self, text: str, *more: Any, **options: Any) -> Text:
            return super().render_str(shown(text), *more, **options)

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return CleanConsole(stderr=err, width=width, emoji=False, highlight=highlight)


def echo_usage(error: click.ClickException) -> None:
    """Print on stderr how a command was called in a wrong way, with its usage."""
    told = StringIO()
    error.show(told)
    echo(told.getvalue().rstrip("\n"), err=True)


class CleanFormatter(logging.Formatter):
    """Formats a log record as one line, and its traceback below it, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text."""
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the record's line: a line feed in it is visible, and begins no line."""
        return visible(redact(super().formatMessage(record)), keeps="")

    def formatException(self, ei: Any) -> str:
        """Return a traceback's lines."""
        return visible(redact(super().formatException(ei)))

    def formatStack(self, stack_info: str) -> str:
        """Return the lines of where a record was made."""
        return visible(redact(super().formatStack(stack_info)))


def log_to_stderr(level: int) -> None:
    """Have log records and warnings from `level` on written to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(CleanFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=level)
    logging.captureWarnings(capture=True)


def traceback_text(error: BaseException) -> str:
    """Return an error's traceback as it may be shown."""
    kind, trace = type(error), error.__traceback__
    return CleanFormatter().formatException((kind, error, trace))


def write_uncaught() -> None:
    """Have what Python itself would print of an error nobody caught pass through `echo`."""

    def uncaught(_: object, error: BaseException, __: TracebackType | None) -> None:
        echo(traceback_text(error), err=True)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            echo(traceback_text(args.exc_value), err=True)

    def ignored(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            echo(f"ignored: {traceback_text(args.exc_value)}", err=True)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, ignored
