"""A page is acknowledged where it arrived: by whom it may be, of what it says, exactly once."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.control.ledger import Ledger
from recon.control.reply_cursors import Acknowledgement, Cursor
from recon.core.page import Page
from recon.errors import ConfigError
from recon.paging.acknowledgements import ReplyPoller, check_replies
from recon.paging.channels import Recipient
from recon.paging.notifiers import parse_channel
from recon.paging.pagerduty import PagerDuty
from recon.paging.telegram import Telegram
from tests.paging.test_paging import command_lines
from tests.support.answers import MINUTE, STRANGER, Desk, serving_desk
from tests.support.servers.answering import (
    ANNA,
    CHAT,
    REST_TOKEN,
    Fault,
    Handler,
    another_reader,
    drips,
    loses_the_reply,
    redirects,
    says,
    too_many,
)
from tests.support.servers.channels import TOKEN, telegram_url
from tests.support.sightings import off_by


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk that is paged in Telegram."""
    with serving_desk(tmp_path) as made:
        del made.channels[1]
        yield made


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Desk]:
    with serving_desk(tmp_path) as made:
        yield made


def test_nobody_is_asked_where_nothing_stands_unanswered(both: Desk) -> None:
    both.bot.write("ack night")
    assert both.hear() == []
    both.page()
    both.ledger.acknowledge_page("night-a", who="a", user="o", note="", at=both.now())
    assert both.hear() == []
    assert both.bot.asked("getUpdates") == []
    assert both.duty.asked("incidents") == []


def test_a_reply_to_a_page_acknowledges_it_and_its_breaks(desk: Desk) -> None:
    desk.page_of_breaks("btc", "eth")
    desk.bot.write("ack on it", to=desk.bot.page())
    assert desk.hear() == ["night-a"]
    assert {row["status"] for row in desk.ledger.breaks()} == {"acknowledged"}
    assert desk.who() == [("@anna", "on it")] * 2
    assert desk.bot.replies() == ["recon: acknowledged: night-a  off"]
    assert desk.bot.sent[-1]["reply_parameters"]["message_id"] == desk.bot.next_message - 1
    assert desk.hear() == []
    assert desk.ledger.audit()[1] == []
    users = desk.ledger._db.execute("select detail from journal where act = 'acknowledge'")
    assert {json.loads(row["detail"])["user"] for row in users} == {"telegram 7"}


def test_the_word_may_be_written_in_many_ways(desk: Desk) -> None:
    texts = [
        "ack",
        "Ack",
        "/ack",
        "/ACK@recon_bot",
        "ack, yes",
        "acknowledged",
        "ack\n\nyes",
        "ack.",
    ]
    keys = [f"night-{n}" for n in range(len(texts))]
    for key in keys:
        desk.ledger.enqueue(Page(key, f"{key} is off", "5.00", "major"), desk.now())
    desk.send()
    pages = {str(one["text"]).rpartition(" ")[2]: one["message"] for one in desk.bot.sent}
    for key, text in zip(keys, texts, strict=True):
        desk.bot.write(text, to=pages[key])
    assert desk.hear() == keys
    rows = desk.ledger._db.execute("select note from incidents order by key")
    word = "acknowledged in Telegram"
    assert [row["note"] for row in rows] == [word, word, word, word, "yes", word, "yes", word]


def test_the_repeats_end_and_the_page_is_resolved_all_the_same(desk: Desk) -> None:
    desk.page()
    desk.bot.write("ack", to=desk.bot.page())
    desk.hear()
    desk.shift += timedelta(hours=2)
    desk.send()
    assert len([one for one in desk.bot.sent if "night-a is off" in one["text"]]) == 2  # and reply
    desk.ledger.enqueue(Page("night-a", "over", "", "major", resolves=True), desk.now())
    desk.send()
    assert desk.bot.sent[-1]["text"] == "over\n\n\n\nkey: night-a"


def test_a_page_is_acknowledged_by_its_key_without_a_reply(desk: Desk) -> None:
    desk.page("heartbeat-btc")
    desk.page("heartbeat-btc2")
    desk.bot.write("/ack heartbeat-btc the switch is being changed")
    assert desk.hear() == ["heartbeat-btc"]  # a whole key, though another begins so
    assert desk.status("heartbeat-btc2") == "open"
    desk.bot.write("ack heart")
    assert desk.hear() == []
    assert desk.bot.replies()[-1].startswith("recon: not acknowledged: heart begins the keys of 2")
    desk.bot.write("ack heartbeat-btc2")
    assert desk.hear() == ["heartbeat-btc2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ack", "the key of an incident is missing: use one of"),
        ("ack nonesuch", "nonesuch begins no incident's key: use one of\n  night-a"),
        ("ack over-1 really", "over-1 is resolved: it needs no acknowledgement"),
    ],
)
def test_what_cannot_be_acknowledged_is_told_why(desk: Desk, text: str, said: str) -> None:
    desk.page("over-1")
    desk.ledger.enqueue(Page("over-1", "t", "b", "major", resolves=True), desk.now())
    desk.page()
    desk.bot.write(text)
    assert desk.hear() == []
    [reply] = desk.bot.replies()
    assert reply.startswith(f"recon: not acknowledged: {said}")
    assert desk.status() == "open"


def test_a_reply_to_a_page_that_is_over_is_told_so(desk: Desk) -> None:
    desk.page("over-1")
    page = desk.bot.page()
    desk.ledger.enqueue(Page("over-1", "t", "b", "major", resolves=True), desk.now())
    desk.page()
    desk.bot.write("ack", to=page)
    assert desk.hear() == []
    assert "over-1 is resolved" in desk.bot.replies()[0]


def test_any_other_text_does_nothing(desk: Desk) -> None:
    desk.page()
    for text in (
        "",
        "regressed",
        "hack night-a",
        "not ack",
        "ackerman says hi",
        "'; drop table incidents; --",
        "a\x00ck night-a",
        "<b>ack</b>",
        "ok",
        "👍",
        "💥" * 2000,
        "\ud800",
        "ackack",
    ):
        desk.bot.write(text, to=desk.bot.page())
    desk.bot.write("ack %", by={"id": 8, "first_name": "\x1b[31mB\n", "last_name": "'; --"})
    assert desk.hear() == []
    assert desk.status() == "open"
    assert len(desk.bot.replies()) == 1  # to the last, of which nothing is known


def test_a_hostile_name_and_note_are_kept_as_one_plain_line(desk: Desk) -> None:
    desk.page_of_breaks("btc")
    by = {"id": 8, "first_name": "\x1b[31mBob\n", "last_name": "'; --\ud800"}
    desk.bot.write("ack it is\n\x1b[2Jknown", to=desk.bot.page(), by=by)
    assert desk.hear() == ["night-a"]
    assert desk.who() == [(r"[31mBob '; --\ud800 (8)", "it is [2Jknown")]


def test_a_stranger_is_noted_and_never_obeyed(desk: Desk) -> None:
    desk.page()
    desk.bot.write("ack night-a", chat=STRANGER)
    desk.bot.write("ack", to=desk.bot.page(), chat=STRANGER)
    assert desk.hear() == []
    assert (desk.status(), desk.bot.replies()) == ("open", [])
    assert len(desk.notes) == 1
    assert "2 messages ignored, of chats that no channel names: 666" in desk.notes[0]
    assert desk.hear() == []
    assert len(desk.notes) == 1


def test_a_chat_may_be_named_by_its_name_and_a_topic_is_answered_in(desk: Desk) -> None:
    url = telegram_url("@Recon_Desk/-100123:5")
    desk.channels[0] = Recipient("chat", "chat", parse_channel(url, desk.bot.base), "minor")
    desk.page()
    post = desk.bot.posted("ack night-a", chat=-55) | {"author_signature": "Cleo"}
    del post["from"]
    post["chat"] |= {"type": "channel", "username": "recon_desk", "title": "The desk"}
    desk.bot.update(channel_post=post)
    assert desk.hear() == ["night-a"]
    desk.page("night-b")
    topic = desk.bot.posted("ack", chat=-100123) | {"message_thread_id": 5}
    topic |= {"is_topic_message": True, "reply_to_message": desk.bot.page()}
    desk.bot.update(message=topic)
    assert desk.hear() == ["night-b"]
    assert desk.bot.sent[-1]["message_thread_id"] == 5


def test_what_is_no_new_message_says_nothing_and_holds_nobody_up(desk: Desk) -> None:
    desk.page()
    ack = desk.bot.posted("ack night-a")
    desk.bot.update(edited_message=ack)
    desk.bot.update(gap=40, callback_query={"from": ANNA, "data": "ack night-a"})
    desk.bot.update(message={"text": "ack night-a"})
    desk.bot.update(message=ack | {"date": True, "chat": {"id": str(CHAT)}})
    desk.bot.update(message=ack | {"date": 10**30})
    desk.bot.update(message="ack night-a")
    desk.bot.updates.append({"update_id": "ack"})
    assert desk.hear() == []
    assert desk.status() == "open"
    desk.bot.updates.pop()
    for _ in range(25):
        desk.bot.write("good morning")
    desk.bot.write("ack", to=desk.bot.page())
    assert desk.hear() == ["night-a"]  # further back than one answer reaches
    assert desk.hear() == []


def test_a_reply_to_an_earlier_page_does_not_acknowledge_what_is_graver(desk: Desk) -> None:
    desk.page(severity="minor")
    early = desk.bot.page()
    desk.shift += timedelta(hours=1)
    desk.page(severity="critical")
    desk.bot.write("ack", to=early)
    assert desk.hear() == []
    assert "has begun, or grown worse, since" in desk.bot.replies()[0]
    desk.bot.write("ack", to=desk.bot.page(1))
    assert desk.hear() == ["night-a"]


def test_the_same_bot_in_two_channels_is_read_once(desk: Desk) -> None:
    other = parse_channel(telegram_url("111111/222222"), desk.bot.base)
    desk.channels += [Recipient("second", "second", other, "critical", is_escalation=True)]
    desk.page()
    desk.bot.write("ack night-a", chat=222222)
    assert desk.hear() == ["night-a"]
    assert len(desk.bot.asked("getUpdates")) == 1
    marks = desk.ledger._db.execute("select place from heard where place like 'telegram/%'")
    assert len(marks.fetchall()) == 1


def test_what_is_delivered_again_is_dealt_with_once(desk: Desk) -> None:
    desk.page_of_breaks("btc")
    desk.bot.write("ack", to=desk.bot.page())
    kept = list(desk.bot.updates)
    assert desk.hear() == ["night-a"]
    desk.see(off_by("9.00"))  # open again
    desk.bot.updates = kept
    desk.bot.faults = [says(200, {"ok": True, "result": kept})]  # whatever was asked for
    assert desk.hear() == []
    assert len(desk.who()) == 1


def test_after_a_week_of_silence_updates_may_count_from_anywhere(desk: Desk) -> None:
    desk.page()
    desk.bot.write("good morning")
    desk.hear()
    desk.bot.next_update = 1000
    desk.bot.write("ack", to=desk.bot.page() | {"date": int(desk.now().timestamp())})
    desk.shift += timedelta(days=7)
    assert desk.hear() == ["night-a"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (says(200, {"ok": False, "description": TOKEN}), "did not say ok (HTTP 200)"),
        (says(200, b"<html>canary"), "did not say ok (HTTP 200)"),
        (says(200, {"ok": True, "result": {"update_id": 1}}), "no list of updates"),
        (says(200, b"[" * 100_000), "did not say ok"),
        (says(401, {"ok": False}), "does not know the bot"),
        (says(500, b""), "HTTP 500"),
        (says(599, b""), "HTTP 599"),
        (another_reader, "another program reads"),
        (too_many, "left alone for 300 s"),
        (redirects, "HTTP 302"),
        (loses_the_reply, "no answer: RemoteDisconnected"),
        (drips, "no answer within 3 s"),
    ],
)
def test_no_answer_is_a_note_and_no_acknowledgement(desk: Desk, fault: Fault, said: str) -> None:
    desk.page()
    desk.bot.write("ack", to=desk.bot.page())
    desk.bot.faults = [fault]
    begun = time.monotonic()
    assert desk.hear() == []
    assert time.monotonic() - begun < 10
    assert desk.status() == "open"
    [note] = [each for each in desk.notes if "ANSWERS NOT READ through chat:" in each]
    assert said in note
    assert desk.hear(timedelta(seconds=30)) == []  # it is left alone
    assert desk.hear(timedelta(seconds=301)) == ["night-a"]


def test_a_webhook_is_said_as_what_it_is(desk: Desk) -> None:
    desk.page()
    desk.bot.webhook = "https://elsewhere.example/canary"
    assert desk.hear() == []
    assert "a webhook and not to recon: remove that (deleteWebhook)" in desk.notes[0]


def test_a_word_that_does_not_arrive_changes_nothing(desk: Desk) -> None:
    desk.page()
    desk.bot.write("ack", to=desk.bot.page())
    updates = says(200, {"ok": True, "result": list(desk.bot.updates)})
    desk.bot.faults = [updates, says(200, {"ok": True, "result": []}), says(400, {"ok": False})]
    assert desk.hear() == ["night-a"]
    assert desk.status() == "acknowledged"


def test_who_listens_without_waiting_is_never_held_up(desk: Desk) -> None:
    desk.page()
    desk.bot.write("ack", to=desk.bot.page())
    desk.bot.faults = [drips]
    desk.shift += MINUTE
    with ReplyPoller(desk.ledger, desk.channels, desk.now, desk.notes.append, deadline_s=1) as one:
        for _ in range(20):
            begun = time.monotonic()
            assert one.poll() == []
            assert time.monotonic() - begun < 0.5
            time.sleep(0.1)
        assert "no answer within 1 s" in desk.notes[0]
        desk.shift += MINUTE
        heard: list[str] = []
        until = time.monotonic() + 10
        while not heard and time.monotonic() < until:
            heard = one.poll()
            time.sleep(0.05)
    assert heard == ["night-a"]
    assert desk.bot.replies() == ["recon: acknowledged: night-a  night-a is off"]


def test_two_that_listen_at_once_ask_once(both: Desk) -> None:
    both.page()
    both.bot.write("ack", to=both.bot.page())
    both.shift += MINUTE
    with (
        Ledger(both.folder / "control.sqlite") as second,
        ReplyPoller(both.ledger, both.channels, both.now, both.notes.append) as one,
        ReplyPoller(second, both.channels, both.now, both.notes.append) as other,
    ):
        one.poll()
        assert other.poll(waits=True) == []
        heard: list[str] = []
        while not heard:
            heard = one.poll()
            time.sleep(0.05)
    assert len(both.bot.asked("getUpdates")) == 1
    assert len(both.duty.asked("incidents")) == 1


def test_who_comes_second_has_read_nothing(desk: Desk) -> None:
    desk.page_of_breaks("btc")
    at, place = desk.now(), "telegram/1"
    answer = Acknowledgement("night-a", "@anna", "telegram 7", "known", at)
    marks = [
        desk.ledger.claim_reply_source(place, at + n * MINUTE, at + n * MINUTE) for n in range(2)
    ]
    assert marks == [Cursor(), Cursor()]
    dealt = [desk.ledger.apply_replies(place, Cursor(), "8", [answer], at, at) for _ in range(2)]
    assert dealt == [[("night-a", "acknowledged: night-a  off")], []]
    assert len(desk.who()) == 1


def test_an_answer_and_its_mark_are_kept_together_or_not_at_all(desk: Desk) -> None:
    desk.page_of_breaks("btc", "eth")
    desk.bot.write("ack", to=desk.bot.page())
    desk.ledger._db.execute(
        """
        create trigger the_disk_is_full before insert on journal
        when (select count(*) from journal where act = 'acknowledge') = 1
        begin select raise(abort, 'full'); end
        """
    )
    with pytest.raises(sqlite3.DatabaseError):
        desk.hear()
    assert (desk.status(), desk.who()) == ("open", [])
    desk.ledger._db.execute("drop trigger the_disk_is_full")
    assert desk.hear() == ["night-a"]
    assert len(desk.who()) == 2


def test_a_secret_is_in_no_process_s_arguments(both: Desk) -> None:
    listings = []

    def look(handler: Handler) -> None:
        listings.append(command_lines())
        handler.reply(500, b"")

    both.page()
    both.bot.faults, both.duty.faults = [look], [look]
    both.hear()
    assert len(listings) == 2
    for arguments in listings:
        assert "recon.paging.poll_child" in arguments
        assert "canary" not in arguments


@pytest.mark.parametrize("url", [telegram_url(), "json://127.0.0.1:9", "https://127.0.0.1/x"])
def test_an_api_token_is_for_pagerduty(url: str) -> None:
    with pytest.raises(ConfigError, match="api_token is for PagerDuty"):
        parse_channel(url, None, REST_TOKEN)


def test_check_says_whether_answers_can_be_read(both: Desk) -> None:
    assert [(one.detail, one.is_ok) for one in check_replies(both.channels)] == [
        ("can be read, while no other program reads them", True)
    ] * 2
    both.bot.webhook = "https://elsewhere.example"
    wrong = replace(both.channels[1].channel, api_token="canary-wrong")
    without = replace(both.channels[1].channel, api_token=None)
    both.channels[1:] = [
        Recipient("duty", "duty", wrong, "minor"),
        Recipient("other", "other", without, "minor"),
    ]
    found = check_replies(both.channels)
    assert [one.is_ok for one in found] == [True, False, False]
    assert [one.detail[:25] for one in found] == [
        "not read: it has no api_t",
        "Telegram gives what is wr",
        "PagerDuty refuses the api",
    ]
    assert both.bot.asked("getUpdates") == []
    assert "canary" not in str([one[:2] for one in map(repr, found)])


READERS = {
    "telegram": Telegram.read_replies,
    "telegram webhook": Telegram.read_check,
    "pagerduty": PagerDuty.read_replies,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ok", "result", "update_id", "message", "chat", "id", "text", "date", "from",
                 "reply_to_message", "incidents", "status", "acknowledgements", "at",
                 "acknowledger", "last_status_change_by", "parameters", "retry_after"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(reader=st.sampled_from(sorted(READERS)), status=st.integers(100, 599), said=JSON)
def test_whatever_a_service_says_is_read_or_is_a_problem(
    reader: str, status: int, said: Any
) -> None:
    read = READERS[reader](status, json.dumps(said).encode())
    assert json.dumps(read._asdict())
    if status != 200:
        assert read.problem
        assert read.items == []
