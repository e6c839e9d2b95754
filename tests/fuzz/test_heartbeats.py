"""Heartbeats of any content: a right one is read, anything else is unknown and never alive."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recon.config.settings import Bot
from recon.core.liveness import Beat, NoBeat
from recon.fetch.heartbeats import MAX_BYTES, MAX_SEQ, Look, parse_beat, read_beats
from tests.fuzz.door import fuzzed
from tests.fuzz.hostile import VALUES, Spoiling, spoilings

AT = datetime(2026, 5, 14, 23, 59, 31, tzinfo=UTC)
SAID = {"bot": "btc", "seq": 81234, "at": AT.isoformat(), "last_bar_at": None, "last_loop_ms": 412}
BODY = json.dumps(SAID).encode()
BEAT = Beat("btc", 81234, AT)
OTHER = BEAT._replace(bot="eth")


def _looked(folder: Path, heartbeat: dict[str, str]) -> dict[str, Look]:
    """Look at one bot's heartbeat, and at a good one beside it."""
    (folder / "eth.json").write_text(json.dumps({**SAID, "bot": "eth"}))
    bots = [
        Bot.model_validate(
            {"id": name, "account": "okx", "database": "sqlite:///b", "heartbeat": at}
        )
        for name, at in (("btc", heartbeat), ("eth", {"file": "eth.json"}))
    ]
    looks = read_beats(bots, folder, lambda: AT, deadline_s=0.5)
    assert looks["eth"].reading == OTHER
    return looks


def _check(look: Look, *, is_noticed: bool) -> None:
    reading = look.reading
    if isinstance(reading, NoBeat):
        reading.why.encode()
        assert reading.why
        assert len(reading.why) < 300
    else:
        assert reading == BEAT or not is_noticed
        assert reading.bot == "btc"
        assert 0 <= reading.seq <= MAX_SEQ
        assert reading.at.tzinfo is UTC


@fuzzed
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda size: BODY + b" " * size, st.integers(MAX_BYTES - 300, MAX_BYTES + 300)),
        st.builds(
            lambda name, value: BODY.replace(json.dumps(SAID[name]).encode(), value.encode()),
            st.sampled_from(sorted(SAID)),
            st.sampled_from(VALUES),
        ),
    )
)
def test_a_file_of_any_content(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "btc.json").write_bytes(data)
        looks = _looked(Path(folder), {"file": "btc.json"})
        _check(looks["btc"], is_noticed=False)
        assert isinstance(looks["btc"].reading, NoBeat) or len(data) <= MAX_BYTES


@fuzzed
@given(spoilings(1))
def test_an_http_answer_of_any_content(spoiling: Spoiling) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(spoiling.spoilt(BODY))
        writer.close()

    async def look(folder: Path) -> dict[str, Look]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            return await asyncio.to_thread(_looked, folder, {"url": url})

    with tempfile.TemporaryDirectory() as folder:
        looks = asyncio.run(look(Path(folder)))
    _check(looks["btc"], is_noticed=spoiling.is_noticed)


@fuzzed
@given(st.integers(0, MAX_SEQ), st.datetimes(timezones=st.just(UTC)), st.randoms())
def test_a_good_beat_is_read_exactly(seq: int, at: datetime, chance: random.Random) -> None:
    said = [*({**SAID, "seq": seq, "at": at.isoformat()}).items()]
    chance.shuffle(said)
    assert parse_beat(json.dumps(dict(said)), "btc") == Beat("btc", seq, at)
