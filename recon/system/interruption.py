"""Signals that end a command: SIGINT, SIGTERM, SIGHUP. The first one is raised as `Interrupted`.

It is raised in the main thread, and each block on the way takes back what it has begun. A library
may replace it by an error of its own, as DuckDB does. So `heed` raises it again before anything is
committed, and no interrupted step is reported as a failed source. Later signals are ignored: they
disturb no clean-up. A clean-up that takes longer than `GRACE_S` is ended: the state is whole after
a kill as well.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol
from weakref import WeakSet

from recon.errors import Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 25.0
"""Within this a command that was told to stop has ended: its last ping alone may take ten."""

Handler = Callable[[int, FrameType | None], None]


class _Asked:
    """Which signal asked this process to end; 0 for none."""

    number = 0


def asked() -> int:
    """Return the signal that has asked this process to end; 0 for none."""
    return _Asked.number


def heed() -> None:
    """Raise Interrupted where this process was asked to end."""
    if _Asked.number:
        raise Interrupted(_Asked.number)


class Interruptible(Protocol):
    """Work in a library's own threads, which go on when an exception is raised in the main one."""

    def interrupt(self) -> object:
        """End what is under way, with an error where it was called."""
        ...


_interruptible: WeakSet[Interruptible] = WeakSet()


def interrupt_too(work: Interruptible) -> None:
    """Have the signal that ends this process also call `work.interrupt()`, while `work` lives."""
    _interruptible.add(work)


@contextmanager
def heeding(end_children: Callable[[], object]) -> Iterator[None]:
    """Raise Interrupted in the block when a signal asks this process to end; once, the first time.

    Signals that are ignored, as by `nohup`, stay so. After the block all of them are: its work has
    ended, and the process exits with the status of that work. `end_children` is called before a
    process ends itself whose clean-up takes too long.
    """
    listen, tell = os.pipe()
    os.set_blocking(tell, False)
    threading.Thread(target=_end_late, args=(listen, end_children), daemon=True).start()

    def ask(number: int, _: FrameType | None) -> None:
        if _Asked.number:
            return
        _Asked.number = number
        os.write(tell, bytes([number]))
        for one in list(_interruptible):
            with suppress(Exception):  # it has ended already
                one.interrupt()
        logging.getLogger("asyncio").disabled = True  # it logs each task that ends so
        raise Interrupted(number)

    heeded = [one for one in ENDING if signal.getsignal(one) is not signal.SIG_IGN]
    for one in heeded:
        signal.signal(one, ask)
    try:
        yield
    finally:
        for one in heeded:
            signal.signal(one, signal.SIG_IGN)


def _end_late(listen: int, end_children: Callable[[], object]) -> None:
    """Wait for a signal, then for the process to end by itself; else end it."""
    [number] = os.read(listen, 1)
    threading.Event().wait(GRACE_S)
    end_children()
    os._exit(Interrupted(number).exit_code)


class Stop:
    """Waits, and knows whether a signal has asked to end: for what ends only between two turns."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._number = 0
        for one in ENDING:
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, self._ask)

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds at most; return whether it is time to end."""
        return self._event.wait(seconds)

    @property
    def exit_code(self) -> int:
        """The exit status that belongs to the signal."""
        return Interrupted(self._number).exit_code

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._number = self._number or number
        self._event.set()
