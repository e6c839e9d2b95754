"""Replies of any content: nobody is taken to have acknowledged, and nothing is raised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.control.ledger import Ledger
from recon.control.outbox import Unacknowledged
from recon.core.page import Message, Page
from recon.paging.acknowledgements import ReplyPoller, reply_sources
from recon.paging.channels import Recipient
from recon.paging.notifiers import parse_channel
from recon.paging.pagerduty import PagerDuty
from recon.paging.service import HttpService, Reading
from recon.paging.telegram import Telegram
from tests.fuzz.door import fuzzed
from tests.fuzz.hostile import Spoiling, spoilings
from tests.support.servers.channels import pagerduty_url, telegram_url

NOW = datetime(2026, 5, 14, 12, tzinfo=UTC)
PIPE_BYTES = 65_536
CHANNELS = [
    Recipient("chat", "chat", parse_channel(telegram_url()), "minor"),
    Recipient("duty", "duty", parse_channel(pagerduty_url(), None, "token"), "minor"),
]
READERS = {
    "updates": Telegram.read_replies,
    "webhook": Telegram.read_check,
    "acknowledgements": PagerDuty.read_replies,
}
INCIDENTS = [Unacknowledged("night-a", frozenset({"chat", "duty"}))]
SOURCES = dict(
    zip(["updates", "acknowledgements"], reply_sources(CHANNELS, INCIDENTS), strict=True)
)
BODIES: dict[str, Any] = {
    "updates": {
        "ok": True,
        "result": [
            {
                "update_id": 730_000_000 + number,
                "message": {
                    "message_id": number,
                    "date": int(NOW.timestamp()),
                    "chat": {"id": 987654321, "username": "desk", "title": "Desk"},
                    "from": {"id": 7, "first_name": "Anna", "last_name": "A", "username": "anna"},
                    "text": "hello",
                    "is_topic_message": True,
                    "message_thread_id": 3,
                    "reply_to_message": {"text": "a\nkey: night-a", "date": 1_778_760_000},
                },
            }
            for number in (1, 2)
        ],
    },
    "acknowledgements": {
        "incidents": [
            {
                "incident_key": "night-a",
                "status": "triggered",
                "last_status_change_at": "2026-05-14T12:00:00Z",
                "last_status_change_by": {"type": "user_reference", "summary": "A", "id": "P1"},
                "acknowledgements": [
                    {
                        "at": "2026-05-14T12:00:00Z",
                        "acknowledger": {"type": "user_reference", "summary": "A", "id": "P1"},
                    }
                ],
            }
        ]
    },
    "webhook": {"ok": True, "result": {"url": "", "pending_update_count": 0}},
}
BODIES["acted"] = {
    "incidents": [{**BODIES["acknowledgements"]["incidents"][0], "status": "acknowledged"}]
}


def _body(reader: str, spoiling: Spoiling) -> bytes:
    """Return a spoilt body, without the head that an HTTP library would take off."""
    raw = spoiling.spoilt(json.dumps(BODIES[reader]).encode())
    return raw.partition(b"\r\n\r\n")[2]


class _TakenBackError(Exception):
    """Ends a step of the ledger, so that the next input finds the ledger as it was."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Give a ledger with one page that nobody has acknowledged."""
    with Ledger(tmp_path_factory.mktemp("replies") / "control.sqlite") as made:
        made.enqueue(Page("night-a", "off", "5.00", "major"), NOW - timedelta(hours=1))
        yield made


@contextmanager
def _applied(ledger: Ledger, reader: str, read: Reading) -> Iterator[tuple[ReplyPoller, str]]:
    """Give a poller that has applied replies, and the page's status; nothing of it is kept."""
    source, notes = SOURCES[reader], list[str]()
    with suppress(_TakenBackError), ledger.step():
        poller = ReplyPoller(ledger, [], lambda: NOW, notes.append)
        cursor = ledger.claim_reply_source(source.key, NOW, NOW)
        assert cursor is not None
        poller._apply(source, cursor, read)
        assert all(note.encode() and len(note) < 1_000 for note in notes)
        yield poller, ledger.incidents("night")[0]["status"]
        for task in poller._tasks:
            task.child.end()
        raise _TakenBackError


statuses = st.sampled_from([200, 200, 200, 202, 401, 409, 429, 500, 999])
readers = st.sampled_from(["updates", "acknowledgements"])


@fuzzed
@given(readers, statuses, spoilings(1))
def test_a_spoilt_reply_acknowledges_nothing(
    ledger: Ledger, reader: str, status: int, spoiling: Spoiling
) -> None:
    printed = json.dumps(READERS[reader](status, _body(reader, spoiling))._asdict())
    assert len(printed) < PIPE_BYTES
    read = Reading(**json.loads(printed))
    with _applied(ledger, reader, read) as (poller, status_of_page):
        assert poller._acknowledged == []
        assert status_of_page == "open"


@fuzzed
@given(spoilings(1))
def test_a_spoilt_act_is_dealt_with_or_said(ledger: Ledger, spoiling: Spoiling) -> None:
    printed = json.dumps(READERS["acknowledgements"](200, _body("acted", spoiling))._asdict())
    read = Reading(**json.loads(printed))
    with _applied(ledger, "acknowledgements", read) as (poller, status):
        assert (status == "acknowledged") == (poller._acknowledged == ["night-a"])


@fuzzed
@given(st.sampled_from(sorted(READERS)), statuses, st.binary(max_size=200))
def test_bytes_are_no_reply(reader: str, status: int, body: bytes) -> None:
    read = READERS[reader](status, body)
    assert read.items == []
    assert read.problem


@fuzzed
@given(st.sampled_from([0, 1]), statuses, spoilings(1))
def test_a_spoilt_receipt_is_one_or_says_why_not(
    number: int, status: int, spoiling: Spoiling
) -> None:
    channel = CHANNELS[number].channel
    assert isinstance(channel, HttpService)
    [request] = channel.requests(Message("night-a", "off", "5.00"))
    body = spoiling.spoilt(b'{"ok":true,"dedup_key":"night-a"}').partition(b"\r\n\r\n")[2]
    why = channel.receipt_error(request, status, body)
    assert isinstance(why, str)
    assert why or status in {200, 202}
