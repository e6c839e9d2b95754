from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from recon.config.settings import Channel, Paging
from recon.core.page import MAX_BODY, Message
from recon.errors import ConfigError
from recon.paging import notifiers
from recon.paging.channels import Result, recipients, send
from recon.paging.notifiers import parse_channel
from recon.paging.service import Request
from recon.paging.webhook import Webhook
from recon.report.page_text import subjects_to_page, write_page
from tests.support.servers.channels import (
    TOKEN,
    Answer,
    Behaviour,
    Receiver,
    drips,
    hangs,
    loses_the_reply,
    pagerduty,
    pagerduty_url,
    receiver,
    redirects,
    says,
    telegram,
    telegram_url,
)

TRUTH = {
    "gross": "1277.00",
    "fees": "-1650.00",
    "funding": "0",
    "other": "0",
    "net": "-373.00",
    "open_costs": "0",
}
CAUSES = [
    {"cause": "fee_missing", "amount": "1650.00", "trades": 104},
    {"cause": "price", "amount": "32.00", "trades": 1},
    {"cause": "unexplained", "amount": "0", "trades": 0},
]
SPAN = {
    "claimed": "1309.00",
    "broker": TRUTH,
    "divergence": "1682.00",
    "divergence_pct": "450.94",
    "causes": CAUSES,
}


def document(status: str = "diverged", bots: int = 1) -> dict[str, Any]:
    return {
        "as_of": "2026-05-14",
        "run": "r1",
        "status": status,
        "accounts": [
            {"account": "okx", "status": "proven", "currency": "USDT", "reasons": []},
            {"account": "ib", "status": "failed", "currency": "USD", "reasons": ["1012: expired"]},
        ],
        "bots": [
            {
                "bot": f"btc-{n}",
                "account": "okx",
                "status": "diverged",
                "window": SPAN,
                "session": SPAN,
                "reasons": [],
            }
            for n in range(bots)
        ]
        + [{"bot": "basket", "account": "ib", "status": "unproven", "reasons": ["no books"]}],
    }


def test_a_page_says_what_an_operator_needs() -> None:
    written = write_page(document(), "/etc/recon.toml")
    assert written is not None
    title, body = written
    assert title == "recon 2026-05-14: DIVERGED btc-0"
    for part in (
        "btc-0 (okx) DIVERGED",
        "claimed 1309.00 USDT",
        "broker net -373.00",
        "gross 1277.00",
        "fees -1650.00",
        "funding 0",
        "net -373.00",
        "divergence 1682.00 (450.94%)",
        "as of 2026-05-14",
        "recon run --config /etc/recon.toml --as-of 2026-05-14 --no-fetch",
        "causes: fee_missing 1650.00 (104 trades), price 32.00 (1 trade)",
        "recon explain btc-0 --config /etc/recon.toml --as-of 2026-05-14",
        "account ib: FAILED",
        "1012: expired",
        "basket: UNPROVEN: no books",
    ):
        assert part in body


def test_nobody_is_paged_where_all_agreed() -> None:
    assert write_page(document("agreed"), "recon.toml") is None


def test_what_is_known_is_no_reason_for_a_page_and_is_named_on_another_s() -> None:
    written = write_page(document(bots=2), "recon.toml", {"btc-1"})
    assert written is not None
    title, body = written
    assert title == "recon 2026-05-14: DIVERGED btc-0"
    assert "btc-1 (okx)" not in body
    assert "acknowledged and no worse: btc-1" in body
    written = write_page(document(), "recon.toml", {"btc-0"})
    assert written is not None
    assert written[0] == "recon 2026-05-14: UNPROVEN ib"
    alone = document() | {"accounts": document()["accounts"][:1], "bots": document()["bots"][:1]}
    assert write_page(alone, "recon.toml", {"btc-0"}) is None
    assert write_page(alone, "recon.toml") is not None


def test_a_page_says_what_of_it_was_signed_off() -> None:
    signed = {"amount": "1600.00", "beyond": "82.00", "as_of": "2026-05-10"}
    known = document()
    known["bots"][0]["signed_off"] = signed
    written = write_page(known, "recon.toml")
    assert written is not None
    assert "signed off as of 2026-05-10: 1600.00, beyond it: 82.00" in written[1]


def test_two_hundred_bots_are_one_page_with_the_numbers_first() -> None:
    written = write_page(document(bots=200), "recon.toml")
    assert written is not None
    assert len(written[1]) <= MAX_BODY
    assert written[1].startswith("btc-0 (okx) DIVERGED")
    assert written[1].endswith("(clipped: read the report for all of it)")
    assert written[0] == "recon 2026-05-14: DIVERGED btc-0, btc-1, btc-2 and 197 more"


def test_bots_of_an_account_that_is_down_are_not_told_of_one_by_one() -> None:
    down = document("unproven", bots=0)
    down["bots"] = [
        {
            "bot": f"ib-{n}",
            "account": "ib",
            "status": "unproven",
            "unproven_by_account": True,
            "reasons": ["its account ib is failed"],
        }
        for n in range(200)
    ]
    written = write_page(down, "recon.toml")
    assert written is not None
    assert written[0] == "recon 2026-05-14: UNPROVEN ib"
    assert "ib-0" not in written[1]
    assert subjects_to_page(down, {}) == {"account ib 2026-05-14": "ib"}


def through(*urls: str, deadline_s: float = 10, **said: Any) -> list[Result]:
    """Send one page through channels; return what became of it in each."""
    message = Message(**{"key": "k", "title": "t", "body": "b", **said})
    jobs = [(parse_channel(url), message) for url in urls]
    results = dict(send(jobs, deadline_s=deadline_s))
    return [results[n] for n in range(len(urls))]


def at(one: Receiver, url: str, **said: Any) -> Result:
    """Send one page to Telegram or PagerDuty, of which this server takes the place."""
    message = Message(**{"key": "k", "title": "t", "body": "b", **said})
    [(_, result)] = send([(parse_channel(url, one.base), message)], deadline_s=10)
    return result


def test_a_page_arrives_as_it_was_written() -> None:
    with receiver(says(200)) as one:
        [result] = through(one.webhook, title="the title", body="the body\nits second line")
    assert result.reason == ""
    assert [(page["title"], page["message"], page["key"]) for page in one.took] == [
        ("the title", "the body\nits second line", "k")
    ]


def test_a_channel_that_fails_does_not_keep_the_others_from_theirs() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = f"json://127.0.0.1:{closed.getsockname()[1]}/"
        with receiver(says(200)) as good, receiver(says(500)) as broken:
            reasons = [each.reason for each in through(refused, good.webhook, broken.webhook)]
    assert reasons == ["no answer: Connection refused", "", "HTTP 500"]
    assert len(good.took) == 1


@pytest.mark.parametrize("behaviour", [drips, hangs], ids=["drips", "hangs"])
def test_a_channel_that_never_ends_is_cut_off_and_keeps_no_other_waiting(
    behaviour: Behaviour,
) -> None:
    with receiver(behaviour) as bad, receiver(says(204)) as good:
        begun = time.monotonic()
        slow, quick = through(bad.webhook, good.webhook, deadline_s=3)
        assert time.monotonic() - begun < 15
    assert (slow.reason, quick.reason) == ("no answer within 3 s", "")
    assert quick.seconds < 3


@pytest.mark.parametrize("scheme", ["json", "form"], ids=["ours", "of apprise"])
def test_a_redirect_is_no_receipt_and_is_not_followed(scheme: str) -> None:
    with receiver(redirects) as one:
        [result] = through(f"{scheme}://127.0.0.1:{one.port}/canary")
    assert result.reason
    assert one.gets == 0


def test_telegram_counts_where_it_says_ok() -> None:
    with receiver(telegram) as one:
        assert at(one, telegram_url(), title="t", body="😀" * 9_000).reason == ""
    [took] = one.took
    assert took["chat_id"] == 987654321
    assert took["text"].startswith("t\n\n😀")
    assert took["text"].endswith('… (clipped)\n\nReply "ack" to acknowledge, or write /ack k')


@pytest.mark.parametrize(
    ("status", "said"),
    [(200, {"ok": False}), (200, None), (200, ["ok"]), (200, {"ok": "true"}), (302, {"ok": True})],
)
def test_telegram_does_not_count_where_it_does_not(status: int, said: Any) -> None:
    with receiver(says(status, said)) as one:
        assert at(one, telegram_url()).reason
    assert len(one.took) == 1


def test_every_chat_of_a_telegram_channel_has_to_take_it() -> None:
    def only_the_first(handler: Answer, posted: dict[str, Any]) -> None:
        handler.reply(200, {"ok": posted["chat_id"] == 111111})

    with receiver(only_the_first) as one:
        assert at(one, telegram_url("111111/222222")).reason == "Telegram did not say ok (HTTP 200)"
    assert [each["chat_id"] for each in one.took] == [111111, 222222]


def test_pagerduty_is_triggered_and_resolved_by_one_key() -> None:
    with receiver(pagerduty) as one:
        assert at(one, pagerduty_url(), body="1682.00 " * 900, severity="critical").reason == ""
        assert at(one, pagerduty_url(), resolves=True).reason == ""
    first, second = one.took
    assert (first["event_action"], second["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == second["dedup_key"] == "k"
    assert first["payload"]["severity"] == "critical"
    assert first["payload"]["summary"].startswith("t 1682.00 1682.00")
    assert len(first["payload"]["summary"]) <= 1024


@pytest.mark.parametrize(
    ("status", "said"), [(202, {"dedup_key": "another"}), (202, None), (200, {"dedup_key": "k"})]
)
def test_pagerduty_counts_by_its_202_and_its_key(status: int, said: Any) -> None:
    with receiver(says(status, said)) as one:
        assert (
            at(one, pagerduty_url()).reason == f"PagerDuty did not take the event (HTTP {status})"
        )


def test_a_lost_reply_is_not_delivered_though_it_may_have_arrived() -> None:
    with receiver(loses_the_reply) as one:
        [result] = through(one.webhook)
    assert result.reason == "no answer: RemoteDisconnected"
    assert len(one.took) == 1


def test_a_channel_that_sends_nothing_has_not_delivered() -> None:
    # apprise's own word for it is success: the service is told of failures alone, or of nobody.
    job = {
        "service": "apprise",
        "message": Message("k", "t", "b")._asdict(),
        "url": "silent://nowhere",
        "deadline_s": 10,
    }
    plugin = """
import apprise, json, sys, io
from apprise.decorators import notify
@notify(on="silent")
def nothing(body, title, notify_type, *args, **kwargs):
    return True
sys.stdin = io.StringIO(%r)
from recon.paging.send import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", plugin % json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (
        1,
        "nothing was sent: the channel was never connected to",
    )


def test_another_service_goes_through_apprise_and_counts_by_its_answer() -> None:
    with receiver(says(200)) as good, receiver(says(500)) as bad:
        results = through(*(f"form://127.0.0.1:{one.port}/canary-token" for one in (good, bad)))
    assert [each.reason for each in results] == ["", "the channel did not take it"]
    assert [(page["title"], page["message"]) for page in good.took] == [("t", "b")]


def test_a_plain_address_is_a_webhook() -> None:
    with receiver(says(201)) as one:
        [result] = through(f"{one.base}/hooks/canary-token?canary=1")
    assert (result.reason, one.took[0]["title"]) == ("", "t")


def test_an_unknown_channel_is_refused_and_its_url_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"no channel like tgarm://") as caught:
        parse_channel("tgarm://canary-token/chat")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("url", ["tgram://" + TOKEN, "json://", "https://", "mailto", ""])
def test_a_channel_through_which_nothing_would_go_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_channel(url)
    assert "canary" not in str(caught.value)


CANARIES = [
    "tgram://123456789:AAcanary_abcdefghijklmnopqrstuvwxyz12/987654321",
    "json://user:canary@127.0.0.1/",
    "https://u:canary@host/canary?canary",
    "pagerduty://canarycanarycanarycanarycanary12@canarycanary",
    "form://127.0.0.1/canary",
]


def of(*urls: str, **more: Any) -> tuple[Channel, ...]:
    """Return channels as the configuration has them."""
    return tuple(Channel.model_validate({"url": SecretStr(url), **more}) for url in urls)


def test_a_channel_is_named_by_its_id_or_its_service_and_number_and_never_by_its_url(
    caplog: pytest.LogCaptureFixture,
) -> None:
    named = Channel.model_validate({"id": "ops", "url": SecretStr(telegram_url("1"))})
    paging = Paging(channels=(named, *of(*CANARIES)), escalation=of(telegram_url("2")))
    with caplog.at_level(logging.DEBUG):
        names = [one.name for one in recipients(paging)]
    assert names == [
        *("ops", "telegram 2", "webhook 1", "webhook 2", "pagerduty 1", "form 1", "telegram 3")
    ]
    assert "canary" not in caplog.text


def test_a_channel_s_key_is_made_of_its_url_alone() -> None:
    """Stored deliveries have the key: another key would send every page again."""
    bare = Paging(channels=of("json://127.0.0.1:9/x"))
    named = Paging(escalation=of("json://127.0.0.1:9/x", id="ops", severity="major"))
    assert [one.key for one in recipients(bare)] == ["d24049a08fda"]
    assert [one.key for one in recipients(named)] == ["d24049a08fda"]
    moved = Paging(channels=of(telegram_url(), base_url="http://127.0.0.1:1"))
    assert recipients(moved)[0].key != recipients(Paging(channels=of(telegram_url())))[0].key


def test_a_channel_that_cannot_be_used_is_said_by_its_place() -> None:
    for more, place in (({}, "paging.escalation.1"), ({"id": "duty"}, "paging.escalation.duty")):
        paging = Paging(channels=of("json://127.0.0.1"), escalation=of("tgarm://canary", **more))
        with pytest.raises(ConfigError, match=f"^{place}: apprise knows no channel"):
            recipients(paging)
        assert [one.name for one in recipients(paging, is_strict=False)] == ["webhook 1"]


@pytest.mark.parametrize("url", ["json://127.0.0.1", "https://127.0.0.1/x", "form://127.0.0.1"])
def test_a_base_url_is_for_services_that_have_their_own_address(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url is for Telegram and PagerDuty"):
        parse_channel(url, "https://elsewhere.example")


class Semaphore(Webhook):
    """A service that nothing else knows of."""

    name = "semaphore"
    title = "Semaphore"

    @classmethod
    def costs_booked(cls, url: str, plugin: Any) -> bool:
        return plugin is None and url.startswith("semaphore://")

    def requests(self, message: Message) -> list[Request]:
        return [Request(self.url.replace("semaphore", "http"), "POST", {}, message._asdict())]

    @classmethod
    def receipt_error(cls, _request: Request, _status: int, body: bytes) -> str:
        return "" if body == b'{"flag": "up"}' else "the flag is not up"

    def plain_route(self) -> None:
        return None


def test_a_new_service_is_one_class_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "SERVICES", (Semaphore, *notifiers.SERVICES))
    with receiver(says(200, {"flag": "up"})) as good, receiver(says(200)) as bad:
        urls = [f"semaphore://127.0.0.1:{one.port}/" for one in (good, bad)]
        found = recipients(Paging(channels=of(*urls)))
        jobs = [one.channel.job(Message("k", "t", "b")) for one in found]
        problems = [notifiers.service_named("semaphore").send(job) for job in jobs]
    assert [one.name for one in found] == ["semaphore 1", "semaphore 2"]
    assert problems == ["", "the flag is not up"]
    assert [page["title"] for page in good.took] == ["t"]


def command_lines() -> str:
    """Return what anybody can read of the arguments of every process that this one has started."""
    parents, lines = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            number = int(path.name)
            parents[number] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ")
            lines[number] = words.decode(errors="replace")
    ours = {os.getpid()}
    while found := {one for one, parent in parents.items() if parent in ours} - ours:
        ours |= found
    return "\n".join(lines[one] for one in ours - {os.getpid()} if one in lines)


def test_a_secret_is_in_no_process_s_arguments() -> None:
    listings = []

    def look(handler: Answer, _posted: dict[str, Any]) -> None:
        listings.append(command_lines())
        handler.reply(200)

    with receiver(look) as one:
        through(one.webhook, f"form://127.0.0.1:{one.port}/canary-token")
    assert len(listings) == 2
    for arguments in listings:
        assert "recon.paging.send" in arguments
        assert "canary" not in arguments


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_secret_is_in_no_word_about_a_failure(
    status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with receiver(says(status, {"ok": False, "description": TOKEN})) as one:
        results = [at(one, telegram_url()), at(one, pagerduty_url())]
    assert all(each.reason for each in results)
    assert "canary" not in f"{results} {capfd.readouterr()}"


def test_a_child_ends_itself_where_nobody_waits_for_it() -> None:
    with receiver(hangs) as one:
        job = {
            "service": "webhook",
            "deadline_s": 0.5,
            "requests": [Request(one.base, "POST", {}, {})._asdict()],
        }
        done = subprocess.run(
            [sys.executable, "-m", "recon.paging.send"],
            input=json.dumps(job),
            text=True,
            timeout=10,
            check=False,
        )
    assert done.returncode == -signal.SIGALRM
