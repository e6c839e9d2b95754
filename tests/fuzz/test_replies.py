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
from recon.control.outbox import Unanswered
from recon.core.page import Message, Page
from recon.paging.acknowledgements import Listener, places
from recon.paging.channels import Outlet
from recon.paging.notifiers import answered, requests_for, understood
from recon.paging.reply_parsers import READERS, no_answer
from tests.fuzz.door import fuzzed
from tests.fuzz.hostile import Spoiling, spoilings
from tests.support.servers.channels import pagerduty_url, telegram_url

NOW = datetime(2026, 5, 14, 12, tzinfo=UTC)
PIPE_BYTES = 65_536
CHANNELS = [
    Outlet("chat", understood(telegram_url()), "minor"),
    Outlet("duty", understood(pagerduty_url(), None, "token"), "minor"),
]
PLACES = {
    place.reader: place
    for place in places(CHANNELS, [Unanswered("night-a", frozenset({"chat", "duty"}))])
}
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
def _dealt(ledger: Ledger, reader: str, said: dict[str, Any]) -> Iterator[tuple[Listener, str]]:
    """Give what has dealt with a reply, and the status of the page; nothing of it is kept."""
    place, notes = PLACES[reader], list[str]()
    with suppress(_TakenBackError), ledger.step():
        listener = Listener(ledger, [], lambda: NOW, notes.append)
        mark = ledger.claim_place(place.key, NOW, NOW)
        assert mark is not None
        listener._deal(place, mark, said)
        assert all(note.encode() and len(note) < 1_000 for note in notes)
        yield listener, ledger.incidents("night")[0]["status"]
        for one in listener._going:
            one.child.end()
        raise _TakenBackError


statuses = st.sampled_from([200, 200, 200, 202, 401, 409, 429, 500, 999])
readers = st.sampled_from(["updates", "acknowledgements"])


@fuzzed
@given(readers, statuses, spoilings(1))
def test_a_spoilt_reply_acknowledges_nothing(
    ledger: Ledger, reader: str, status: int, spoiling: Spoiling
) -> None:
    said = READERS[reader](status, _body(reader, spoiling))
    printed = json.dumps(said)
    assert len(printed) < PIPE_BYTES
    with _dealt(ledger, reader, json.loads(printed)) as (listener, status_of_page):
        assert listener._acknowledged == []
        assert status_of_page == "open"


@fuzzed
@given(spoilings(1))
def test_a_spoilt_act_is_dealt_with_or_said(ledger: Ledger, spoiling: Spoiling) -> None:
    said = READERS["acknowledgements"](200, _body("acted", spoiling))
    with _dealt(ledger, "acknowledgements", json.loads(json.dumps(said))) as (listener, status):
        assert (status == "acknowledged") == (listener._acknowledged == ["night-a"])


@fuzzed
@given(st.sampled_from(sorted(READERS)), statuses, st.binary(max_size=200))
def test_bytes_are_no_reply(reader: str, status: int, body: bytes) -> None:
    said = READERS[reader](status, body)
    assert said == no_answer(said["problem"], said["pause_s"])
    assert said["problem"]


@fuzzed
@given(st.sampled_from([0, 1]), statuses, spoilings(1))
def test_a_spoilt_receipt_is_one_or_says_why_not(
    number: int, status: int, spoiling: Spoiling
) -> None:
    [request] = requests_for(CHANNELS[number].channel, Message("night-a", "off", "5.00"))
    body = spoiling.spoilt(b'{"ok":true,"dedup_key":"night-a"}').partition(b"\r\n\r\n")[2]
    why = answered(request._asdict(), status, body)
    assert isinstance(why, str)
    assert why or status in {200, 202}
