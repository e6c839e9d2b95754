"""TWS's messages, one of them spoilt: read right, or said to be no evidence."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from connectors.ibkr_tws.client import TwsAddress
from connectors.ibkr_tws.connector import IbkrTws
from connectors.ibkr_tws.messages import happened_at, uncorrected
from connectors.retry import RetryPolicy
from recon.core.records import Session, Window
from tests.fuzz.door import fuzzed
from tests.fuzz.hostile import Items, check_sound, gathered
from tests.support.servers.tws_server import TwsAccount, TwsServer, contract, fill

NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)
WINDOW = Window(*[Session(date(2026, 5, 14), datetime(2026, 5, 14, 4, tzinfo=UTC), NOW)] * 2)
HASTY = RetryPolicy(
    request_timeout_s=0.15, attempts=1, first_wait_s=0.01, longest_wait_s=0.02, total_s=5.0
)
MESSAGES = 20
FIELDS = (
    "", "x", "-1", "1e999999999", "9" * 5_000, "nan", "1.7976931348623157E308", "\ud83d", "٣", "²",
    "x" * 70_000, "20260514 10:30:00 America", "20260514 10:30:00 " + "x" * 300, "\x1b[2J", "-0",
    "20260514 10:30:00 ../../etc/passwd", "99991231-23:59:59", "00010101 00:00:00 Asia/Tokyo",
    "20261101 01:30:00 US/Eastern", "0000e0d5." + "9" * 5_000, "1_000", "True",
)  # fmt: skip


@dataclass(frozen=True)
class Spoiling:
    """What becomes of the message with this number."""

    number: int
    seed: int

    def spoilt(self, fields: Sequence[str]) -> tuple[bytes, bool]:
        """Return the frame in place of one, and whether no true one can be so."""
        chance = random.Random(self.seed)
        frame, kind = _frame(fields), chance.randrange(8)
        if kind <= 2:
            changed = [*fields]
            changed[chance.randrange(len(changed))] = chance.choice(FIELDS)
            return _frame(changed), False
        if kind == 3:
            return _frame(fields[: chance.randrange(len(fields))]), False
        if kind == 4:
            return struct.pack(">I", chance.choice([2**32 - 1, 2**20, 10_000])) + frame[4:], True
        if kind == 5:
            return frame[: chance.randrange(len(frame))], False
        if kind == 6:
            return frame[:4] + bytes(chance.randbytes(len(frame) - 4)), False
        return chance.choice([b"\0" * 4, b"\0" * 64, _frame(["9" * 5_000]), _frame([])]), False


def _frame(fields: Sequence[str]) -> bytes:
    text = "".join(f"{field}\0" for field in fields).encode("utf-8", "surrogatepass")
    return struct.pack(">I", len(text)) + text


class SpoilingTws(TwsServer):
    """Spoils one message."""

    def __init__(self, spoiling: Spoiling | None) -> None:
        execution = fill("0000e0d5.66a4.01.01")
        account = TwsAccount([execution], {}, [(contract(), "100", "500.25")])
        super().__init__({"DU1": account})
        self.spoiling = spoiling
        self.is_noticed = False
        self.sent = 0

    def _send(self, writer: asyncio.StreamWriter, *fields: object) -> None:
        self.sent += 1
        if self.spoiling is not None and self.spoiling.number == self.sent - 1:
            frame, self.is_noticed = self.spoiling.spoilt([str(field) for field in fields])
            writer.write(frame)
        else:
            super()._send(writer, *fields)


async def _fetched(server: SpoilingTws) -> Items:
    async with server:
        patience = HASTY if server.spoiling else replace(HASTY, request_timeout_s=5.0)
        address = TwsAddress("127.0.0.1", server.port, 900)
        source = IbkrTws("tws", address, now=lambda: NOW, patience=patience)
        return await gathered(source.fetch(WINDOW))


TRUE = asyncio.run(_fetched(SpoilingTws(None)))


@fuzzed
@given(st.builds(Spoiling, st.integers(0, MESSAGES - 1), st.integers(0, 2**32)))
def test_a_spoilt_message_is_read_right_or_is_no_evidence(spoiling: Spoiling) -> None:
    server = SpoilingTws(spoiling)
    items = asyncio.run(_fetched(server))
    check_sound(items, TRUE, is_noticed=server.is_noticed, may_lack={"commission"})


@fuzzed
@given(st.one_of(st.sampled_from(FIELDS), st.text(max_size=40)))
def test_any_text_is_an_instant_or_none(text: str) -> None:
    at = happened_at(text, ZoneInfo("America/New_York"))
    assert at is None or at.tzinfo is UTC


@fuzzed
@given(st.lists(st.one_of(st.sampled_from(FIELDS), st.text(max_size=20)), max_size=5))
def test_any_ids_are_corrected_among_themselves(exec_ids: list[str]) -> None:
    assert uncorrected(exec_ids) <= set(exec_ids)
