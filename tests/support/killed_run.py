"""A night in a process of its own, as cron would call it, that is killed where a test says.

Where: at the n-th event of recon's own code, which is any call and any return, those of DuckDB and
of SQLite among them; or after so many seconds, in the middle of whatever it is.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from recon.config.settings import load
from recon.errors import ExitCode, exit_status
from recon.paging.failure import page_failed
from recon.run.nightly import Night
from recon.run.service import nightly
from tests.support.fleet import QUICK, unpaced
from tests.support.small_disk import bring_back, small_disk

HOME = str(Path(__file__).parents[2] / "recon") + os.sep
STEPS = (
    "due", "assert_unaltered", "begin_run", "open_verified", "_fetch", "land", "_model",
    "run_lots", "_judge", "manifest", "begin_manifest", "commit_manifest", "checkpoint", "verify",
    "_record", "publish", "sync_folder", "_report", "publish_run", "deliver", "record_attempt",
    "page_results", "end_run", "back_up", "copy_to", "_verify_warehouse", "_verify_control",
    "_prune",
)  # fmt: skip
"""Functions with which a step of a night begins; it ends where the next one does."""


@dataclass(frozen=True, slots=True)
class Death:
    """Where a night ends too early; of these, what comes first. None of them: it does not.

    `most_bytes` is what no file may outgrow: as a disk that is full, from there on.
    """

    at_event: int | None = None
    at_step: str | None = None
    after_s: float | None = None
    most_bytes: int | None = None
    room_bytes: int | None = None
    """What is free on the disk of the state, which is one of its own: see `small_disk.py`."""
    most_files: int | None = None
    """How many files and folders more that disk takes; with `room_bytes`."""
    is_powerless: bool = False
    """Without the powers of root: what others own and have closed is closed to it."""


class Counting:
    """Counts events, and knows at which one each step began."""

    def __init__(self, death: Death) -> None:
        self._death = death
        self.events = 0
        self.steps: list[tuple[int, str]] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if not frame.f_code.co_filename.startswith(HOME):
            return
        self.events += 1
        name = frame.f_code.co_name if event == "call" else None
        if self.events == self._death.at_event or (name and name == self._death.at_step):
            os.kill(os.getpid(), signal.SIGKILL)
        if name in STEPS:
            self.steps.append((self.events, name))


def night_in_a_process(
    config: Path, now: datetime, death: Death = Death(), *, counts_to: Path | None = None
) -> int:
    """Do what is due in a process of its own; return its exit status, -9 where it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.killed_run"])
    process = context.Process(target=_night, args=(config, now, death, counts_to))
    process.start()
    process.join()
    status = process.exitcode
    process.close()
    bring_back(config.parent / "state")
    if status is None:
        raise AssertionError("the process has been waited for")
    return status


def _night(config: Path, now: datetime, death: Death, counts_to: Path | None) -> None:
    sys.stdout = sys.stderr = (config.parent / "night.log").open("a", encoding="utf-8")
    os.umask(0o077)
    counting = Counting(death)
    if death.after_s is not None:
        threading.Timer(death.after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    if death.most_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (death.most_bytes, death.most_bytes))
    if death.is_powerless and os.geteuid() == 0:
        drop_powers()
    status: int = ExitCode.AGREED
    disk = ExitStack()
    if death.room_bytes is not None:
        small = small_disk(config.parent / "state", death.room_bytes, death.most_files)
        disk.enter_context(small)
    sys.setprofile(counting)
    try:
        with unpaced():
            done = nightly(Night(load(config), now=lambda: now, patience=QUICK))
            status = ExitCode.UNPROVEN if done.problem else ExitCode.AGREED
            _say(done.problem)
    except Exception as error:  # noqa: BLE001 - as the command line does
        page_failed(config, error, lambda: now, _say)
        _say(repr(error))
        status = exit_status(error)
    finally:
        sys.setprofile(None)
        disk.close()
    if counts_to is not None:
        counts_to.write_text(json.dumps({"events": counting.events, "steps": counting.steps}))
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


def drop_powers() -> None:
    """Give up reading, writing and changing the mode of what belongs to others."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # capabilities of version 3, this process
    kept = 0xFFFFFFFF & ~(1 << 1 | 1 << 2 | 1 << 3)  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
    libc = ctypes.CDLL(None, use_errno=True)
    had = (ctypes.c_uint32 * 6)()
    libc.capget(header, had)
    for place in (0, 1):  # effective, permitted
        had[place] &= kept
    if libc.capset(header, had) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def drawn(chance: random.Random, counted: dict[str, Any], seconds: float) -> Death:
    """Draw where a night dies: in any step alike, at any event of that; or else at any time."""
    if chance.random() < 0.3:
        return Death(after_s=chance.uniform(0, seconds))
    steps: Sequence[tuple[int, str]] = counted["steps"]
    name = chance.choice(sorted({name for _, name in steps}))
    begins, ends = chance.choice(
        [
            (begin, end)
            for (begin, each), end in zip(
                steps, [*(at for at, _ in steps[1:]), counted["events"]], strict=True
            )
            if each == name
        ]
    )
    return Death(at_event=chance.randint(begins, max(begins, ends)))
