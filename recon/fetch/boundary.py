"""The boundary around each source: an exception inside it is the failure of that source alone.

A source is an account's venue or a bot database. An exception inside `contained` becomes an
EvidenceError, which makes the account failed or the bot unproven. An unexpected exception is a
defect of recon: its traceback goes to the log, and its type and place go into the reason.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from recon.errors import DefectError, EvidenceError, ExitCode, LockedError, ReconError, StateError
from recon.outside_text import storable
from recon.system.disk import MAKE_ROOM, no_space
from recon.system.state_folder import is_of_storage

LOG = logging.getLogger(__name__)
LONGEST_TEXT = 300
"""Characters of an exception's own text that a reason repeats."""
OURS = ("connectors", "recon")
"""The packages whose frames name the place of a defect."""

_Thing = TypeVar("_Thing")


@contextmanager
def contained(source: str) -> Iterator[None]:
    """Raise an EvidenceError for any exception in the block, which handles one source.

    An EvidenceError keeps its text. Raises StateError where this machine's disk is full. An
    interrupt, a cancellation, and the errors of recon's own files pass as they are.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise DefectError(reason(error, source)) from error  # a library cancelled its own work
    except Exception as error:
        if no_space(error, Path("/")) is not None:
            raise StateError(
                f"no space left on the disk while {source} was read: {_text(error)}: {MAKE_ROOM}"
            ) from error
        if isinstance(error, EvidenceError | StateError | LockedError):
            raise
        kind = EvidenceError if _is_expected(error) else DefectError
        raise kind(reason(error, source)) from error


def reason(error: BaseException, source: str) -> str:
    """Return the reason why a source failed, as its account or bot reports it.

    An error of recon.errors keeps its text. Any other exception is a defect: it is logged with its
    traceback, and the reason names its type and place.
    """
    if _is_expected(error):
        return storable(str(error))
    text = _text(error)
    said = f"{type(error).__name__} in {_place(error)}" + (f": {text}" if text else "")
    LOG.error("%s: %s\n%s", source, said, storable("".join(traceback.format_exception(error))))
    return f"{said}: this is a defect of recon: report it with the log"


def is_of_one_source(error: Exception) -> bool:
    """Return whether the data of one source may have caused an error of the work on all sources.

    It cannot have caused an error of recon's own files: they are the same for all sources.
    """
    return not (isinstance(error, StateError | LockedError) or is_of_storage(error))


def culprits(
    things: Sequence[_Thing],
    error: Exception,
    failing: Callable[[Sequence[_Thing]], Exception | None],
) -> dict[_Thing, Exception]:
    """Return the things that fail alone, each with its error, by halving the groups that fail.

    `error` is the error of all things together. `failing` tries a group. A group that fails though
    neither half fails has no culprit. One culprit among n things costs about 2·log2(n) calls.
    """
    if len(things) == 1:
        return {things[0]: error}
    found: dict[_Thing, Exception] = {}
    half = len(things) // 2
    for group in (things[:half], things[half:]):
        if group and (its_error := failing(group)) is not None:
            found |= culprits(group, its_error, failing)
    return found


def _is_expected(error: BaseException) -> bool:
    return isinstance(error, ReconError) and error.exit_code is not ExitCode.BUG


def _place(error: BaseException) -> str:
    """Return the innermost line of recon's own code that an exception passed: file, line, name."""
    frames = list(traceback.walk_tb(error.__traceback__))
    ours = [
        (module, line, frame.f_code.co_name)
        for frame, line in frames
        for module in [str(frame.f_globals.get("__name__"))]
        if module.partition(".")[0] in OURS
    ]
    if not ours:
        return "an unknown place"
    module, line, name = ours[-1]
    return f"{module.replace('.', '/')}.py:{line} ({name})"


def _text(error: BaseException) -> str:
    """Return an exception's text in one line, shortened. The text itself may fail to be built."""
    written = str(traceback.TracebackException(type(error), error, None, limit=0))
    line = storable(" ".join(written.split()))
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}…"
