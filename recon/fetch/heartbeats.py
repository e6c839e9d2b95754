"""Bots' heartbeats: read from a file, over HTTP or from Redis, and parsed strictly.

No place of a heartbeat can block its reader: a file is opened without waiting, and each beat has
one deadline. All beats are read concurrently.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

from recon.config.settings import Bot, Config, Heartbeat
from recon.core.calendars import market_hours
from recon.core.liveness import Beat, NoBeat, Reading, Rhythm
from recon.core.records import Clock
from recon.outside_text import redact, redact_leaves
from recon.system.bounded_body import BodyError, BodyTooLong, bounded_body
from recon.system.bounded_json import NotJson, decoded
from recon.system.file_text import NotRegularError, open_regular

DEADLINE_S = 10.0
MAX_BYTES = 64 * 1024
"""The most bytes of one beat, decompressed."""
MAX_SEQ = 2**63 - 1
MAX_BYTES_BESIDE = 16 * 1024
"""The most bytes that Redis may send on one connection besides the beat, greeting included."""
TOO_LONG = f"it is longer than {MAX_BYTES} bytes"


class Look(NamedTuple):
    """The beat that was read for a bot, or why there is none, and when it was read (UTC)."""

    reading: Reading
    at: datetime


class _Missing(Exception):
    """The place of the beat holds nothing."""


def rhythm(config: Config, bot: Bot, at: datetime) -> Rhythm:
    """Return the rhythm that a bot's beats must keep around `at`: its settings and market hours.

    Raises ConfigError for an unknown calendar.
    """
    if bot.heartbeat is None:
        raise AssertionError("only bots with a heartbeat are watched")
    [account] = [each for each in config.accounts if each.id == bot.account]
    hours = market_hours(account.calendar, at.year)
    return Rhythm(bot.heartbeat.period_s, bot.bar_s, hours)


def last_beats(config: Config, now: Clock) -> dict[str, datetime]:
    """Return the time of the last beat (UTC) of each bot whose beat can be read."""
    looks = read_beats(config.bots, config.folder, now)
    return {bot: look.reading.at for bot, look in looks.items() if isinstance(look.reading, Beat)}


def read_beats(
    bots: Iterable[Bot], folder: Path, now: Clock, *, deadline_s: float = DEADLINE_S
) -> dict[str, Look]:
    """Return the heartbeat of each bot, by bot. A relative file is relative to `folder`.

    A bot without a heartbeat is left out.
    """
    watched = [bot for bot in bots if bot.heartbeat]
    return asyncio.run(_look_at_all(watched, folder, now, deadline_s))


def parse_beat(text: str | bytes, bot: str) -> Beat:
    """Return the beat that a bot has written. Raises ValueError, with the reason, for any other."""
    said = redact_leaves(decoded(text, has_whole_numbers=True))
    if not isinstance(said, dict) or "bot" not in said:
        raise ValueError("it is not a JSON object with the key bot")
    if said["bot"] != bot:
        raise ValueError(f"it names bot {shortened(said['bot'])}, not {bot!r}")
    seq = said.get("seq")
    if type(seq) is not int or not 0 <= seq <= MAX_SEQ:
        raise ValueError(f"seq is {shortened(seq)}, not a whole number from 0 to {MAX_SEQ}")
    at = _instant("at", said.get("at"))
    last_bar_at = said.get("last_bar_at")
    return Beat(bot, seq, at, None if last_bar_at is None else _instant("last_bar_at", last_bar_at))


def _instant(name: str, value: Any) -> datetime:
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"{name} is {shortened(value)}, not a time with a zone")


async def _look_at_all(
    bots: list[Bot], folder: Path, now: Clock, deadline_s: float
) -> dict[str, Look]:
    async def look(bot: Bot) -> Look:
        reading = await _read(bot, folder, deadline_s)
        return Look(reading, now())

    looks = await asyncio.gather(*map(look, bots))
    return {bot.id: each for bot, each in zip(bots, looks, strict=True)}


async def _read(bot: Bot, folder: Path, deadline_s: float) -> Reading:
    place = bot.heartbeat
    if place is None:
        raise AssertionError("only bots with a heartbeat are read")
    try:
        async with asyncio.timeout(deadline_s):
            return parse_beat(await _fetch(place, folder), bot.id)
    except _Missing as error:
        return NoBeat(is_missing=True, why=redact(str(error)))
    except TimeoutError:
        return NoBeat(is_missing=False, why=f"no answer within {deadline_s:g} s")
    except (OSError, ValueError) as error:
        return NoBeat(is_missing=False, why=_in_words(error))
    except Exception as error:  # noqa: BLE001 - no error may keep the other bots from being read
        return NoBeat(is_missing=False, why=f"it cannot be read: {type(error).__name__}")


async def _fetch(place: Heartbeat, folder: Path) -> bytes:
    if place.file is not None:
        return await _aside(place.file, folder / place.file)
    if place.url is not None:
        return await _over_http(place.url.get_secret_value())
    if place.redis is not None and place.key is not None:
        return await _out_of_redis(place.redis.get_secret_value(), place.key)
    raise AssertionError("the configuration names one place")


_held: set[Path] = set()
"""Files whose read has not returned yet, as on a network disk that is gone."""


async def _aside(name: Path, path: Path) -> bytes:
    """Return the content of a file, read in a daemon thread: the process can end without it."""
    if path in _held:
        raise TimeoutError
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        if not done.done():  # the deadline may have passed first
            act()

    def read() -> None:
        try:
            text = _regular_file(name, path)
            act: Callable[[], None] = lambda: done.set_result(text)  # noqa: E731
        except (OSError, _Missing) as error:
            failure = error
            act = lambda: done.set_exception(failure)  # noqa: E731
        _held.discard(path)
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, act)

    _held.add(path)
    threading.Thread(target=read, name=f"heartbeat {name}", daemon=True).start()
    return await done


def _regular_file(name: Path, path: Path) -> bytes:
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise _Missing(f"there is no file {name}") from None
    except NotRegularError:
        raise OSError(f"{name} is not a regular file") from None
    with file:
        return _bounded(file.read(MAX_BYTES + 1))


async def _over_http(url: str) -> bytes:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None)  # the caller sets the deadline of the whole read
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status in {404, 410}:
                raise _Missing(f"HTTP {answer.status}: there is no beat")
            if answer.status != 200:
                raise OSError(f"HTTP {answer.status}")
            return await bounded_body(answer, MAX_BYTES)
    except BodyTooLong:
        raise OSError(TOO_LONG) from None
    except BodyError as error:
        raise OSError(f"HTTP: {error}") from None
    except (aiohttp.ClientError, ValueError) as error:  # whose text may have the URL
        raise OSError(f"HTTP: {type(error).__name__}") from error


async def _out_of_redis(url: str, key: str) -> bytes:
    try:
        from redis import RedisError
        from redis.asyncio import Redis
    except ImportError as error:
        raise OSError(
            "the redis library is not installed: run  pip install 'recon-pnl[redis]'"
        ) from error
    try:
        async with Redis.from_url(url, redis_connect_func=_bound) as client:
            said: Any = await client.getrange(
                key, 0, MAX_BYTES
            )  # bytes: the client does not decode
    except _TooLong:
        raise OSError(TOO_LONG) from None
    except (RedisError, ValueError) as error:  # whose text may have the URL
        raise OSError(f"Redis: {type(error).__name__}") from error
    if not said:
        raise _Missing(f"there is no key {key}")
    return _bounded(said)


async def _bound(connection: Any) -> None:
    """Open a Redis connection that reads no more bytes than a beat needs.

    A server may announce a value of any length, whichever part was requested.
    """
    connection._reader = _BoundedStream(connection._reader, MAX_BYTES + MAX_BYTES_BESIDE)  # noqa: SLF001 - redis has no public way to set it
    await connection.on_connect()


class _TooLong(Exception):
    """A server sent more bytes than are read. Not a connection error: redis would retry that."""


class _BoundedStream:
    """An `asyncio.StreamReader` that reads, and waits for, no more than `most` bytes."""

    def __init__(self, stream: asyncio.StreamReader, most: int) -> None:
        self._stream = stream
        self._left = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def readexactly(self, size: int) -> bytes:
        self._take(size)
        return await self._stream.readexactly(size)

    async def readline(self) -> bytes:
        line = await self._stream.readline()  # the stream limits the length of a line
        self._take(len(line))
        return line

    async def read(self, size: int) -> bytes:
        some = await self._stream.read(size)
        self._take(len(some))
        return some

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _TooLong


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_BYTES:
        raise OSError(TOO_LONG)
    return body


def _in_words(error: Exception) -> str:
    if isinstance(error, NotJson):
        return "it is not JSON"
    if isinstance(error, OSError) and error.strerror:
        return redact(error.strerror)
    return redact(str(error)) or type(error).__name__
