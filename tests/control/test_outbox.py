"""The outbox: pages that arrive at least once, repeat until somebody answers, and end."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from recon.config.settings import Channel, Paging
from recon.control.breaks import Break
from recon.control.ledger import Ledger
from recon.core.page import Page
from recon.core.records import Severity
from recon.errors import LockedError, UsageError
from recon.paging import delivery
from recon.paging.channels import Recipient, recipients, select_recipients
from recon.paging.delivery import UNDELIVERED, Delivered, Watched, decide, deliver, page_results
from recon.paging.drill import drill
from recon.paging.notifiers import parse_channel
from tests.support.servers.channels import (
    Answer,
    Receiver,
    flaky,
    pagerduty,
    pagerduty_url,
    receiver,
    says,
    telegram,
    telegram_url,
)
from tests.support.sightings import off_by, sighting

LIVES = int(os.environ.get("RECON_LIVES", "6"))
EVENING = datetime(2026, 5, 14, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRUTH = dict.fromkeys(["gross", "fees", "funding", "other", "net"], "100")


def webhook(
    one: Receiver, severity: Severity = "minor", *, is_escalation: bool = False
) -> Recipient:
    channel = parse_channel(one.webhook)
    return Recipient(f"id-{one.port}", f"webhook-{one.port}", channel, severity, is_escalation)


def duty_desk(one: Receiver) -> Recipient:
    channel = parse_channel(pagerduty_url(), one.base)
    return Recipient(f"id-{one.port}", "duty", channel, "minor")


@dataclass
class Service:
    """A ledger, its channels, and a clock that a test moves; what was said on stderr."""

    folder: Path
    ledger: Ledger
    channels: Sequence[Recipient] = ()
    now: datetime = EVENING
    notes: list[str] = field(default_factory=list)
    runs: int = 0

    def send(self, after: timedelta = timedelta()) -> Delivered:
        self.now += after
        return deliver(
            self.folder,
            self.ledger,
            self.channels,
            lambda: self.now,
            self.notes.append,
            deadline_s=10,
        )

    def run(
        self,
        off: Sequence[Break],
        *,
        holes: Sequence[str] = (),
        bots: Sequence[str] = ("btc", "eth"),
        configured: Watched | None = None,
    ) -> list[dict[str, Any]]:
        """Decide and send pages as a run does after it has judged the bots."""
        day = self.now.date()
        wrong = {item.bot for item in off}
        seen = sighting(day, off, [] if holes else [("okx", bot) for bot in bots])
        self.runs += 1
        seen = replace(seen, run=f"run-{self.runs}")
        span: dict[str, Any] = {
            "claimed": "1",
            "broker": TRUTH,
            "divergence": "5.00",
            "divergence_pct": None,
            "causes": [],
        }
        account = {"account": "okx", "currency": "USDT", "reasons": list(holes)}
        document = {
            "run": seen.run,
            "as_of": day.isoformat(),
            "status": "unproven" if holes else "diverged" if off else "agreed",
            "accounts": [account | {"status": "failed" if holes else "proven"}],
            "bots": [
                {
                    "bot": bot,
                    "account": "okx",
                    "window": span,
                    "session": span,
                    "unproven_by_account": bool(holes),
                    "reasons": ["its account okx is failed"] if holes else [],
                    "status": "unproven" if holes else "diverged" if bot in wrong else "agreed",
                }
                for bot in bots
            ],
        }
        with self.ledger.step():
            self.ledger.record_breaks(seen)
            paged = decide(self.ledger, document, off, "recon.toml", self.now, configured)
        self.send()
        return page_results(self.ledger, paged)

    def acknowledge(self, bot: str) -> None:
        [row] = self.ledger.breaks(bot=bot)
        self.ledger.acknowledge(row["break"], who="anna", user="ops", note="known", at=self.now)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Ledger(tmp_path / "control.sqlite") as ledger:
        yield Service(tmp_path, ledger)


def page(key: str = "bot", severity: Severity = "major", **more: Any) -> Page:
    return Page(key, more.pop("title", f"{key} is off"), "5.00", severity, **more)


def heard(one: Receiver) -> list[tuple[str, str]]:
    return [(each["action"], each["key"]) for each in one.took]


def test_a_night_of_twelve_hours(service: Service) -> None:
    is_down = False

    def sometimes(handler: Answer, _posted: dict[str, Any]) -> None:
        handler.reply(503 if is_down else 200)

    with receiver(sometimes) as chat, receiver(pagerduty) as duty, receiver(says(200)) as second:
        service.channels = [webhook(chat), duty_desk(duty), webhook(second, is_escalation=True)]
        times: dict[int, list[int]] = {chat.port: [], duty.port: [], second.port: []}
        both = [off_by("5.00"), off_by("5.00", bot="eth")]
        for minute in range(12 * 60):
            before = {one.port: len(one.took) for one in (chat, duty, second)}
            is_down = 8 * 60 + 14 <= minute < 8 * 60 + 20
            if minute == 0:
                service.run(both)
            elif minute == 50:
                service.acknowledge("btc")
            elif minute == 70:
                service.acknowledge("eth")
            elif minute == 8 * 60:
                service.run([off_by("5.00"), off_by("9.00", bot="eth")])
            elif minute == 8 * 60 + 40:
                service.acknowledge("eth")
            elif minute == 11 * 60:
                service.run([])
            service.send()
            for one in (chat, duty, second):
                times[one.port] += [minute] * (len(one.took) - before[one.port])
            service.now += MINUTE
    first, worse, end = [0, 15, 30, 45, 60], [480, 495, 510], [660, 660]
    assert times[duty.port] == [*first, *worse, *end]
    assert times[second.port] == [45, 60, 660]
    assert times[chat.port] == [*first, 480, 495, 496, 498, 502, 510, *end]
    told, grown = sorted({each["dedup_key"] for each in duty.took})
    triggered = [each for each in duty.took if each["event_action"] == "trigger"]
    assert [each["dedup_key"] for each in triggered] == [told] * 5 + [grown] * 3
    assert {each["dedup_key"] for each in duty.took[-2:]} == {told, grown}
    assert all(each["event_action"] == "resolve" for each in duty.took[-2:])
    assert (
        "still open: eth window 5.00\nacknowledged since: btc window 5.00"
        in chat.took[4]["message"]
    )
    assert service.ledger.incidents() == []
    assert service.send() == Delivered(0, 0, [])
    assert not (service.folder / UNDELIVERED).exists()


def test_two_hundred_bots_that_fail_are_one_page(service: Service) -> None:
    bots = [f"bot-{n}" for n in range(200)]
    with receiver(says(200)) as chat, receiver(telegram) as group:
        service.channels = [
            webhook(chat),
            Recipient("telegram", "telegram", parse_channel(telegram_url(), group.base), "minor"),
        ]
        [told] = service.run([off_by("5.00", bot=bot) for bot in bots], bots=bots)
        assert told["status"] == "delivered"
        assert (len(chat.took), len(group.took)) == (1, 1)
        assert "bot-0 (okx) DIVERGED\nwindow: claimed 1 USDT" in group.took[0]["text"]
        service.ledger.acknowledge_page("night-", who="anna", user="ops", note="", at=service.now)
        service.now += timedelta(days=1)
        service.run([], holes=["the venue is down"], bots=bots)
        assert [action for action, _ in heard(chat)] == ["trigger", "trigger"]
        assert "the venue is down" in chat.took[1]["message"]
        assert "bot-7" not in chat.took[1]["message"]


def test_a_break_that_cannot_be_judged_is_not_over(service: Service) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        [told] = service.run([off_by("5.00")])
        [hole] = service.run([], holes=["down"])
        assert hole["page"] != told["page"]
        service.send(15 * MINUTE)
        service.run([])
    keys = [told["page"], hole["page"]]
    assert heard(chat)[:2] == [("trigger", key) for key in keys]
    assert sorted(heard(chat)[2:4]) == [("trigger", key) for key in keys]  # side by side
    assert sorted(heard(chat)[4:]) == [("resolve", key) for key in keys]


def test_a_run_again_is_the_same_incident(service: Service) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        [one] = service.run([off_by("5.00")])
        service.now += MINUTE
        [again] = service.run([off_by("5.00")])
        assert one["page"] == again["page"]
        assert len(chat.took) == 1
        service.now += timedelta(days=1)
        [other] = service.run([off_by("5.00"), off_by("5.00", bot="eth")])
        assert other["page"] != one["page"]
        assert sorted(heard(chat)[1:]) == [("resolve", one["page"]), ("trigger", other["page"])]


def test_a_hole_that_is_acknowledged_pages_again_the_next_night(service: Service) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        [told] = service.run([], holes=["down"])
        service.ledger.acknowledge_page("night-", who="anna", user="ops", note="", at=service.now)
        service.send(timedelta(hours=1))
        assert service.run([], holes=["down"], bots=["btc"]) == []
        assert len(chat.took) == 1
        service.now = EVENING + timedelta(days=1)
        [again] = service.run([], holes=["down"])
        assert again["page"] != told["page"]
        assert sorted(heard(chat)[1:]) == [("resolve", told["page"]), ("trigger", again["page"])]


def test_an_acknowledged_page_acknowledges_its_breaks(service: Service) -> None:
    service.run([off_by("5.00"), off_by("5.00", bot="eth")])
    service.ledger.acknowledge_page("night-", who="anna", user="ops", note="", at=service.now)
    assert {row["status"] for row in service.ledger.breaks()} == {"acknowledged"}
    with pytest.raises(UsageError, match="begins no incident's key"):
        service.ledger.acknowledge_page("nobody", who="a", user="o", note="", at=service.now)


def test_a_break_that_a_person_resolves_ends_its_incident(service: Service) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.run([off_by("5.00")])
        [row] = service.ledger.breaks()
        service.ledger.resolve(row["break"], who="a", user="o", reason="done", at=service.now)
        service.send(MINUTE)
    assert [action for action, _ in heard(chat)] == ["trigger", "resolve"]


@pytest.mark.parametrize("is_acknowledged", [False, True])
def test_the_incident_of_a_bot_that_is_removed_ends_as_no_longer_watched(
    service: Service, *, is_acknowledged: bool
) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.run([off_by("5.00")])
        if is_acknowledged:
            service.acknowledge("btc")
        service.run([], bots=["eth"], configured=Watched({"okx"}, {"eth"}))
        service.send(16 * MINUTE)
    [_, end] = chat.took
    assert (end["action"], "no longer watched" in end["title"]) == ("resolve", True)
    assert "RESOLVED" not in end["title"]
    [row] = service.ledger.breaks(bot="btc")
    assert row["status"] == ("acknowledged" if is_acknowledged else "open"), "it stays"
    assert f"recon resolve {row['break']}" in end["message"]


def test_of_an_incident_of_two_bots_it_is_said_which_is_no_longer_watched(
    service: Service,
) -> None:
    both, left = [off_by("5.00"), off_by("7.00", bot="eth")], Watched({"okx"}, {"eth"})
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.run(both)
        service.run(both[1:], bots=["eth"], configured=left)
        [standing] = service.ledger.incidents()
        assert [*standing["subjects"]] == [both[1].id]
        assert "no longer watched: the configuration does not name bot btc" in standing["body"]
        service.run([], bots=["eth"], configured=left)
    [_, end] = chat.took
    assert "RESOLVED or no longer watched" in end["title"]
    assert "does not name bot btc" in end["message"]


def test_the_incident_of_an_account_that_is_removed_ends_as_no_longer_watched(
    service: Service,
) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.run([], holes=["no evidence"])
        with service.ledger.step():
            accounts = [{"account": "ibkr", "status": "proven"}]
            document = {
                "run": "later",
                "as_of": "2026-05-15",
                "status": "agreed",
                "accounts": accounts,
                "bots": [],
            }
            decide(service.ledger, document, [], "recon.toml", service.now, Watched({"ibkr"}, {}))
        service.send()
    [_, end] = chat.took
    assert (end["action"], "no longer watched" in end["title"]) == ("resolve", True)
    assert "does not name account okx" in end["message"]


def test_what_is_enqueued_at_every_look_is_sent_once_until_it_grows_graver(
    service: Service,
) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        for severity in ("minor", "minor", "major", "minor", "major"):
            service.ledger.enqueue(page(severity=severity), service.now)
            service.send(MINUTE)
        assert [each["severity"] for each in chat.took] == ["minor", "major"]
        for _ in range(2):
            service.ledger.enqueue(page(resolves=True, title="back"), service.now)
            service.send(MINUTE)
        assert [each["title"] for each in chat.took[2:]] == ["back"]
        service.ledger.enqueue(page(), service.now)
        service.send()
        assert heard(chat)[3:] == [("trigger", "bot")]


def test_graver_than_what_was_acknowledged_pages_again(service: Service) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.ledger.enqueue(page(severity="minor"), service.now)
        service.ledger.acknowledge_page("bot", who="a", user="o", note="", at=service.now)
        for severity in ("minor", "critical"):
            service.ledger.enqueue(page(severity=severity), service.now)
            service.send(timedelta(hours=1))
        assert [each["severity"] for each in chat.took] == ["minor", "critical"]


def test_a_break_that_grew_worse_on_a_night_that_paged_nobody_is_repeated(service: Service) -> None:
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.run([off_by("5.00")])
        service.ledger.acknowledge_page("night-", who="a", user="o", note="", at=service.now)
        assert service.send(timedelta(hours=1)) == Delivered(0, 0, [])
        service.ledger.record_breaks(sighting(service.now.date(), [off_by("9.00")]))
        service.send(MINUTE)
    assert len(chat.took) == 2


def test_where_the_file_cannot_be_written_the_page_is_sent_all_the_same(service: Service) -> None:
    (service.folder / UNDELIVERED).mkdir()
    with receiver(says(200)) as good, receiver(says(500)) as bad:
        service.channels = [webhook(good), webhook(bad)]
        service.ledger.enqueue(page(), service.now)
        assert service.send().waiting == 1
    assert len(good.took) == 1
    assert any("cannot be written" in note for note in service.notes)


def test_the_end_of_nothing_is_no_message(service: Service) -> None:
    service.ledger.enqueue(page(resolves=True), service.now)
    assert service.ledger.refresh_outbox(service.now) == []


def test_a_step_that_fails_leaves_neither_its_breaks_nor_its_page(service: Service) -> None:
    def killed_half_way() -> None:
        with service.ledger.step():
            service.ledger.record_breaks(sighting(date(2026, 5, 14), [off_by("5.00")]))
            service.ledger.enqueue(page(), service.now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        killed_half_way()
    assert service.ledger.breaks() == []
    assert service.ledger.refresh_outbox(service.now) == []


def test_each_channel_is_tried_until_it_has_taken_it_and_no_longer(service: Service) -> None:
    answers = iter([500, 302, 200])

    def at_last(handler: Answer, _posted: dict[str, Any]) -> None:
        handler.reply(next(answers))

    with receiver(says(200)) as good, receiver(at_last) as bad:
        service.channels = [webhook(good), webhook(bad)]
        service.ledger.enqueue(page(), service.now)
        assert service.send().failed == [(service.channels[1].name, "HTTP 500")]
        assert {each["status"] for each in service.ledger.deliveries("bot")} == {
            "delivered",
            "failed",
        }
        assert service.send().failed == []  # not due yet
        assert service.send(MINUTE).failed != []
        assert service.send(2 * MINUTE) == Delivered(1, 0, [])
        assert (len(good.took), len(bad.took)) == (1, 3)


def test_a_channel_that_is_renamed_or_moved_in_the_file_keeps_what_it_took_and_what_waits(
    service: Service,
) -> None:
    def urls(*ones: Receiver, **ids: str) -> Paging:
        made = [{"url": SecretStr(one.webhook)} for one in ones]
        named = [{"id": id_, "url": SecretStr(url)} for id_, url in ids.items()]
        return Paging(channels=tuple(map(Channel.model_validate, [*made, *named])))

    def names() -> set[str]:
        return {each["channel"] for each in service.ledger.deliveries("bot")}

    answers = iter([500, 200])

    def at_last(handler: Answer, _posted: dict[str, Any]) -> None:
        handler.reply(next(answers))

    with receiver(says(200)) as good, receiver(at_last) as bad:
        service.channels = recipients(urls(good, bad))
        service.ledger.enqueue(page(), service.now)
        assert service.send() == Delivered(0, 1, [("webhook 2", "HTTP 500")])
        assert names() == {"webhook 1", "webhook 2"}
        service.channels = recipients(urls(backup=bad.webhook, ops=good.webhook))
        assert service.send() == Delivered(0, 1, [])  # not due yet
        assert service.send(MINUTE) == Delivered(1, 0, [])
        assert (len(good.took), len(bad.took)) == (1, 2)
    assert names() == {"webhook 1", "backup"}


def test_a_resolve_waits_until_its_page_has_arrived(service: Service) -> None:
    is_down = True

    def sometimes(handler: Answer, _posted: dict[str, Any]) -> None:
        handler.reply(500 if is_down else 200)

    with receiver(sometimes) as chat:
        service.channels = [webhook(chat)]
        service.ledger.enqueue(page(), service.now)
        service.ledger.enqueue(page(resolves=True), service.now)
        service.send()
        is_down = False
        service.send(MINUTE)
    assert [action for action, _ in heard(chat)] == ["trigger", "trigger", "resolve"]


def test_of_pages_that_never_arrived_the_last_is_enough(service: Service) -> None:
    service.ledger.enqueue(page(), service.now)
    for _ in range(4):
        service.send(15 * MINUTE)  # no channel takes it
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.send(MINUTE)
    assert len(chat.took) == 1
    assert "repeat 4, since 2026-05-14 22:00 UTC" in chat.took[0]["message"]


def test_everything_down_is_said_and_kept_in_a_file(service: Service) -> None:
    with receiver(says(500)) as chat:
        service.channels = [webhook(chat)]
        [told] = service.run([off_by("5.00")])
    assert told["status"] == "failed"
    assert any(note.startswith("PAGE NOT DELIVERED through webhook-") for note in service.notes)
    text = (service.folder / UNDELIVERED).read_text(encoding="utf-8")
    assert "DIVERGED btc" in text
    assert "claimed 1 USDT" in text
    assert "canary" not in text + "".join(service.notes)
    with receiver(says(200)) as other:
        service.channels = [webhook(other)]
        assert service.send(MINUTE).waiting == 0
    assert not (service.folder / UNDELIVERED).exists()


def test_no_channel_is_a_page_that_waits(service: Service) -> None:
    [told] = service.run([off_by("5.00")])
    assert (told["status"], told["channels"]) == ("failed", [])
    assert service.notes[0].startswith("PAGE NOT DELIVERED: no channel is configured")
    assert (service.folder / UNDELIVERED).exists()


def test_channels_hear_from_their_severity_on_and_nobody_is_never_the_answer() -> None:
    channel = parse_channel("json://127.0.0.1:9")
    every = [
        Recipient("all", "all", channel, "minor"),
        Recipient("loud", "loud", channel, "critical"),
        Recipient("boss", "boss", channel, "major", is_escalation=True),
    ]

    def ids(reached: Sequence[Recipient]) -> list[str]:
        return [one.key for one in reached]

    assert ids(select_recipients(every, "minor", is_escalated=False)) == ["all"]
    assert ids(select_recipients(every, "critical", is_escalated=False)) == ["all", "loud"]
    assert ids(select_recipients(every, "major", is_escalated=True)) == ["all", "boss"]
    assert ids(select_recipients(every[1:2], "minor", is_escalated=False)) == ["loud"]
    assert ids(select_recipients(every[2:], "minor", is_escalated=False)) == ["boss"]


def test_one_process_sends_at_a_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "LOCK_WAIT_S", 0.3)
    with delivery._sending(service.folder), pytest.raises(LockedError, match="is sending pages"):
        service.send()


def test_a_drill_goes_through_every_channel_and_leaves_no_incident_open() -> None:
    with receiver(says(200)) as chat, receiver(pagerduty) as duty, receiver(says(302)) as wrong:
        channels = [webhook(chat), duty_desk(duty), webhook(wrong, is_escalation=True)]
        shown = drill(channels, EVENING)
    assert [one["status"] for one in shown] == ["delivered", "delivered", "failed"]
    assert all(one["seconds"] > 0 for one in shown)
    assert "nothing is wrong" in chat.took[0]["title"]
    assert [each["event_action"] for each in duty.took] == ["trigger", "resolve"]
    assert duty.took[0]["dedup_key"] == duty.took[1]["dedup_key"]


LIFE = """
import json, sys, time, uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from recon.control.ledger import Ledger
from recon.paging.channels import Recipient
from recon.paging.delivery import deliver
from recon.core.page import Page
from recon.paging.notifiers import parse_channel

state, url, began = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

def now():
    return datetime(2026, 5, 14, tzinfo=UTC) + timedelta(seconds=60 * (time.time() - began))

with Ledger(state / "control.sqlite") as ledger:
    while True:
        key = uuid.uuid4().hex
        before = [one["key"] for one in ledger.incidents()]
        with ledger.step():
            ledger.enqueue(Page(key, key, "5.00", "major"), now())
            ledger.acknowledge_page(key, who="a", user="o", note="", at=now())
            for old in before[:-1]:
                ledger.enqueue(Page(old, old, "over", "major", True), now())
        print(key, flush=True)
        channels = [Recipient("c", "c", parse_channel(url), "minor")]
        deliver(state, ledger, channels, now, lambda text: None)
"""


@contextmanager
def life(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that pages without end; kill it at the end of the block."""
    child = subprocess.Popen(
        [sys.executable, "-c", LIFE, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.timeout(60 + 6 * LIVES)
def test_killed_at_any_moment_no_page_is_lost_and_none_is_marked_that_did_not_arrive(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    committed: list[str] = []
    began = time.time()
    with receiver(flaky(seed)) as one:
        for _ in range(LIVES):
            with life(str(tmp_path), one.webhook, str(began)) as child:
                assert child.stdout is not None
                committed.append(child.stdout.readline().strip())
                time.sleep(chance.uniform(0, 0.7))
                child.kill()
                committed += child.stdout.read().split()
                child.stdout.close()
        with Ledger(tmp_path / "control.sqlite") as ledger:
            service = Service(
                tmp_path, ledger, [Recipient("c", "c", parse_channel(one.webhook), "minor")]
            )
            service.now = EVENING + timedelta(days=1)
            rounds = 0
            while service.send(timedelta(minutes=20)).waiting:
                rounds += 1
                assert rounds < 100, f"seed {seed}"
            rows = ledger._db.execute(
                "select key, kind, status from messages left join deliveries using (message)"
            ).fetchall()
    arrived = {(each["key"], each["action"]) for each in one.took if "refused" not in each}
    assert len(committed) >= LIVES
    assert {key for key in committed if (key, "trigger") not in arrived} == set(), f"seed {seed}"
    assert {row["key"] for row in rows} >= set(committed)
    for row in rows:
        assert row["status"] == "delivered", f"seed {seed}: {tuple(row)}"
        action = "resolve" if row["kind"] == "resolve" else "trigger"
        assert (row["key"], action) in arrived, f"seed {seed}: {tuple(row)}"


def test_what_is_written_of_a_page_is_what_arrives(service: Service) -> None:
    hostile = 'é😀 "quoted" \\ <b>\u2028\n\x07 {json}'
    with receiver(says(200)) as chat:
        service.channels = [webhook(chat)]
        service.ledger.enqueue(page(title=hostile), service.now)
        service.send()
    assert chat.took[0]["title"] == 'é😀 "quoted" \\ <b>\\u2028\n\\x07 {json}'
    assert json.dumps(chat.took[0])
