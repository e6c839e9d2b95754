"""Every error that this project raises on purpose, and the exit code of a command that it ends.

    ReconError
    ├── UsageError            2   a command was called in a way that cannot work
    ├── ConfigError           2   recon.toml: names the file, the key and the remedy
    ├── EvidenceError         3   a source did not give what a proof needs
    │   ├── VenueError        3   a venue could not be reached, or its answer cannot be used
    │   │   ├── VenueBusy     3     worth asking again (throttled, down, cut off, malformed)
    │   │   └── VenueRefused  3     asking again will not help (key, permission, address, query)
    │   │       └── KeyRefused 3      the key can do more than read: no further request is made
    │   ├── StatementError    3   a broker's statement is malformed or incomplete
    │   ├── BotDatabaseError  3   a bot database, or the mapping over it, cannot be read
    │   └── DefectError       3   a bug here that the data of one source reached: fetch/boundary.py
    ├── OwnerError            2   the state belongs to another user of this machine
    ├── StateError            3   recon's own files: damaged, missing, no room, no permission
    ├── IdentityError        70   an identity that must hold by construction does not: a bug here
    └── LockedError          75   another run holds the state folder
        └── AnotherNight     75     another nightly run: it does the work of this one
    Interrupted             128 + the signal's number: 130 SIGINT, 143 SIGTERM, 129 SIGHUP

A result about the data (a broken proof, a quarantined row) is never an exception: it is returned
as data. An exception means that the step itself failed.

An error during clean-up never hides the first error. All code that closes, rolls back or
unregisters uses `clean_up`, or a block of `afterwards` or `closing`.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import IntEnum
from typing import Protocol, TypeVar

from recon.outside_text import redact


class ExitCode(IntEnum):
    """The exit statuses of commands."""

    AGREED = 0
    DIVERGED = 1
    USAGE = 2
    UNPROVEN = 3
    BUG = 70
    LOCKED = 75
    HUNG_UP = 128 + signal.SIGHUP
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM


class ReconError(Exception):
    """An error whose message says what happened, to which thing, and what to do.

    The message often quotes a venue or a library. Secrets in it are redacted here.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, *parts: object) -> None:
        super().__init__(*(redact(each) if isinstance(each, str) else each for each in parts))


class UsageError(ReconError):
    """A command was called in a way that cannot work."""

    exit_code = ExitCode.USAGE


class ConfigError(ReconError):
    """The configuration cannot be used. Names the file, the key and the remedy."""

    exit_code = ExitCode.USAGE


class EvidenceError(ReconError):
    """A source did not give what a proof needs."""

    exit_code = ExitCode.UNPROVEN


class VenueError(EvidenceError):
    """A venue could not be reached, or its answer cannot be used."""


class VenueBusy(VenueError):
    """Worth asking again: throttled, down, cut off in the middle, or malformed."""


class VenueRefused(VenueError):
    """Asking again will not help: key, permission, address or query."""


class KeyRefused(VenueRefused):
    """The key can do more than read. No further request is made with it."""


class StatementError(EvidenceError):
    """A broker's statement is malformed or incomplete."""


class BotDatabaseError(EvidenceError):
    """A bot database, or the mapping over it, cannot be read."""


class DefectError(EvidenceError):
    """An unexpected exception in the work on one source: a bug of recon."""


class OwnerError(ReconError):
    """The state, or a file in it, belongs to another user of this machine."""

    exit_code = ExitCode.USAGE


class StateError(ReconError):
    """Recon's own files cannot be used: damaged, missing, or there is no room or permission."""

    exit_code = ExitCode.UNPROVEN


class IdentityError(ReconError):
    """An identity that must hold by construction does not hold: a bug of recon."""

    exit_code = ExitCode.BUG


class LockedError(ReconError):
    """Another run holds the state folder."""

    exit_code = ExitCode.LOCKED


class AnotherNight(LockedError):
    """Another nightly run is in progress, and does the work of this one."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end. It is not an error."""

    def __init__(self, number: int) -> None:
        name = signal.Signals(number).name
        super().__init__(f"interrupted by {name}: nothing more is kept; run the command again")
        self.exit_code = 128 + number
        """The exit status that a shell gives a process that a signal has ended."""


LONGEST_SUMMARY = 300
"""Characters of a summary."""


def exit_status(error: BaseException) -> int:
    """Return the exit status of a command that ends with `error`: 70 for an unexpected error."""
    if isinstance(error, ReconError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "exit_code", ExitCode.INTERRUPTED)
    return ExitCode.BUG


def summary(error: BaseException) -> str:
    """Return one line about the error that ended a run: exit status and text, or a bug's type."""
    is_ours = isinstance(error, ReconError | Interrupted)
    said = str(error) if is_ours else type(error).__name__
    line = next(iter(said.splitlines()), "")
    return f"exit status {exit_status(error)}: {line}"[:LONGEST_SUMMARY]


def clean_up(action: Callable[[], object], *, after: BaseException | None) -> None:
    """Call the clean-up `action` after a block that ended with the error `after`, or with None.

    An error of `action` is raised if `after` is None. Otherwise it becomes a note on `after`, which
    the caller raises.
    """
    if after is None:
        action()
        return
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it is, it comes second
        _note(after, error)


@contextmanager
def afterwards(action: Callable[[], object]) -> Iterator[None]:
    """Call `action` after the block, whether or not it raises; see `clean_up`."""
    try:
        yield
    except BaseException as error:
        clean_up(action, after=error)
        raise
    action()


@asynccontextmanager
async def afterwards_async(action: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Await `action` after the block, whether or not it raises; see `clean_up`."""
    try:
        yield
    except BaseException as error:
        try:
            await action()
        except Exception as second:  # noqa: BLE001 - whatever it is, it comes second
            _note(error, second)
        raise
    await action()


class _Closable(Protocol):
    def close(self) -> object: ...


_Thing = TypeVar("_Thing", bound=_Closable)


@contextmanager
def closing(thing: _Thing) -> Iterator[_Thing]:
    """Yield `thing`, and close it after the block, whether or not it raises; see `clean_up`."""
    with afterwards(thing.close):
        yield thing


def _note(first: BaseException, second: Exception) -> None:
    first.add_note(redact(f"then, during clean-up: {type(second).__name__}: {second}"))
