"""A bot's own side of its heartbeat: one call from its main loop, and no dependencies.

    from recon.heartbeat import Heartbeat

    heart = Heartbeat("beats/btc-quantum.json", "btc-quantum")
    while True:
        work()
        heart.beat(last_bar_at=bar.ended_at)

Only the standard library is used, so that the file can also be copied into a bot by itself.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

SOCKET_TIMEOUT_S = 30.0
"""What no answer on a socket may take, where the bot's own libraries do not say otherwise."""

_log = logging.getLogger(__name__)


class Heartbeat:
    """The beat of one bot's main loop, kept in one file.

    `seq` goes on from what the file says, so that a bot that is started anew does not look like a
    file that was restored. Sockets get a default timeout, so that a dead one raises in the loop and
    does not hold it for hours; `socket_timeout_s = None` leaves them as they are.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        bot: str,
        *,
        socket_timeout_s: float | None = SOCKET_TIMEOUT_S,
    ) -> None:
        self._path = Path(path)
        self._bot = bot
        self._seq = _seq_of(self._path)
        self._loop: int | None = None
        self._beaten_at = time.monotonic()
        if socket_timeout_s is not None:
            socket.setdefaulttimeout(socket_timeout_s)

    def beat(self, last_bar_at: datetime | None = None) -> bool:
        """Say that the main loop has turned, and which bar it has worked on last.

        Call it once a turn, at its end, from the loop itself. Returns whether the beat was written:
        a disk that is full stops no bot. Raises RuntimeError from another thread than the first
        beat's, and ValueError for a time without a zone.
        """
        if last_bar_at is not None and last_bar_at.tzinfo is None:
            raise ValueError(f"last_bar_at = {last_bar_at} has no zone: give it in UTC")
        here = threading.get_ident()
        self._loop = self._loop or here
        if here != self._loop:
            raise RuntimeError(
                "beat() was called from another thread than before: a beat says that the main loop "
                "turns, so call it there"
            )
        turned_at = time.monotonic()
        self._seq += 1
        said = {
            "bot": self._bot,
            "seq": self._seq,
            "at": _utc(datetime.now(UTC)),
            "last_bar_at": None if last_bar_at is None else _utc(last_bar_at),
            "last_loop_ms": round((turned_at - self._beaten_at) * 1000),
        }
        self._beaten_at = turned_at
        try:
            _replace(self._path, json.dumps(said))
        except OSError as error:
            _log.warning("heartbeat %s: not written: %s", self._path, error.strerror)
            return False
        return True


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _seq_of(path: Path) -> int:
    """Return the `seq` that a file ends with; 0 where it says none."""
    try:
        seq = json.loads(path.read_text(encoding="utf-8"))["seq"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return seq if type(seq) is int and seq > 0 else 0


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
