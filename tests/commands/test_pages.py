"""`recon page` and `recon ack` of a page, typed: what they print, and how they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.control.ledger import Ledger
from recon.core.page import Page
from recon.errors import ExitCode
from tests.support.servers.answering import REST_TOKEN, BotApi, PagerDuty, serving
from tests.support.servers.channels import (
    Receiver,
    pagerduty,
    pagerduty_url,
    receiver,
    redirects,
    says,
    telegram_url,
)
from tests.support.sightings import off_by, sighting

AT = datetime.now(UTC)
CONFIG = """
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = 2026-05-01
api_key = {{ env = "NOBODY_SET_THIS" }}
api_secret = {{ file = "nor-wrote-this" }}
passphrase = {{ env = "NOR_THIS" }}
[paging]
channels = [{first}]
escalation = [{second}]
"""


def channel(folder: Path, name: str, url: str, more: str = "") -> str:
    (folder / name).write_text(url, encoding="utf-8")
    (folder / name).chmod(0o600)
    return f'{{ url = {{ file = "{name}" }}{more} }}'


def write(folder: Path, first: str = "", second: str = "") -> Path:
    path = folder / "recon.toml"
    path.write_text(CONFIG.format(first=first, second=second), encoding="utf-8")
    (folder / "state").mkdir(exist_ok=True)
    return path


def typed(
    path: Path, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any], str]:
    """Type a command with --json; return its status, its document and what it said beside."""
    status = run_cli([*arguments, "--json", "--config", str(path)])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else {}, err


def enqueue(folder: Path, page: Page) -> None:
    with Ledger(folder / "state" / "control.sqlite") as ledger:
        ledger.enqueue(page, AT)


def make_due(folder: Path) -> None:
    """Have every place be asked again, as if some time had gone by."""
    with Ledger(folder / "state" / "control.sqlite") as ledger:
        ledger._db.execute("update heard set due_at = ''")


def webhook(folder: Path, one: Receiver) -> str:
    return channel(folder, f"url-{one.port}", one.webhook)


def test_what_waits_is_sent_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver(says(200)) as chat:
        path = write(tmp_path, webhook(tmp_path, chat))
        nothing = {"schema": 1, "settled": 0, "waiting": 0, "failed": [], "acknowledged": []}
        assert typed(path, capsys, "page", "send") == (ExitCode.AGREED, nothing, "")  # no run yet
        enqueue(tmp_path, Page("bot", "bot is silent", "for 18 hours", "critical"))
        sent = {"schema": 1, "settled": 1, "waiting": 0, "failed": [], "acknowledged": []}
        assert typed(path, capsys, "page", "send") == (ExitCode.AGREED, sent, "")
        assert typed(path, capsys, "page", "send")[1]["settled"] == 0
    assert [page["title"] for page in chat.took] == ["bot is silent"]


def test_a_channel_that_redirects_is_an_exit_status_a_line_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver(redirects) as wrong:
        path = write(tmp_path, webhook(tmp_path, wrong))
        enqueue(tmp_path, Page("bot", "bot is silent", "for 18 hours", "critical"))
        status, said, err = typed(path, capsys, "page", "send")
    assert (status, said["waiting"]) == (ExitCode.UNPROVEN, 1)
    assert "redirects are not followed" in said["failed"][0]["reason"]
    assert "PAGE NOT DELIVERED through webhook 1: " in err
    assert "for 18 hours" in (tmp_path / "state" / "PAGES-NOT-DELIVERED.txt").read_text("utf-8")
    assert "canary" not in err + json.dumps(said)


def test_a_drill_names_each_channel_with_its_receipt_and_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiver(says(200)) as chat, receiver(pagerduty) as duty, receiver(says(500)) as wrong:
        second = channel(tmp_path, "duty", pagerduty_url(), f', base_url = "{duty.base}"')
        path = write(tmp_path, webhook(tmp_path, chat), second)
        status, said, _ = typed(path, capsys, "page", "test")
        assert status == ExitCode.AGREED
        assert [one["status"] for one in said["channels"]] == ["delivered", "delivered"]
        assert all(0 < one["seconds"] < 30 for one in said["channels"])
        path = write(tmp_path, webhook(tmp_path, wrong), second)
        assert run_cli(["page", "test", "--config", str(path)]) == ExitCode.UNPROVEN
        shown = capsys.readouterr().out
    assert "FAIL webhook 1: " in shown
    assert "HTTP 500 after" in shown
    assert "receipt after" in shown


def test_a_drill_without_a_channel_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said, err = typed(write(tmp_path), capsys, "page", "test")
    assert (status, said["channels"]) == (ExitCode.UNPROVEN, [])
    assert "nobody would be paged" in err


@pytest.mark.parametrize("where", ["channels", "escalation"])
def test_a_mistyped_url_is_refused_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    mistyped = channel(tmp_path, "url", "tgarm://canary-token/chat")
    path = write(tmp_path, *((mistyped, "") if where == "channels" else ("", mistyped)))
    status, _, err = typed(path, capsys, "page", "send")
    assert status == ExitCode.USAGE
    assert f"paging.{where}.1: apprise knows no channel like tgarm://" in err
    assert "canary" not in err


def test_a_page_is_acknowledged_by_the_beginning_of_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    found = off_by("5.00")
    with Ledger(tmp_path / "state" / "control.sqlite") as ledger, ledger.step():
        ledger.record_breaks(sighting(AT.date(), [found]))
        ledger.enqueue(Page("night-x", "t", "b", "major", subjects={found.id: "okx"}), AT)
    status, said, err = typed(path, capsys, "ack", "night", "--note", "known")
    assert status == ExitCode.AGREED
    assert [row["status"] for row in said["breaks"]] == ["acknowledged"]
    assert "acknowledged: night-x" in err
    with Ledger(tmp_path / "state" / "control.sqlite") as ledger:
        assert [one["status"] for one in ledger.incidents()] == ["acknowledged"]
        assert ledger.audit()[1] == []


def test_an_answer_is_heard_before_what_waits_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(BotApi()) as bot, serving(PagerDuty()) as duty:
        (tmp_path / "token").write_text(REST_TOKEN)
        (tmp_path / "token").chmod(0o600)
        first = channel(tmp_path, "bot", telegram_url(), f', base_url = "{bot.base}"')
        more = f', base_url = "{duty.base}", api_token = {{ file = "token" }}'
        path = write(tmp_path, first, channel(tmp_path, "duty", pagerduty_url(), more))
        for key in ("bot-a", "bot-b"):
            enqueue(tmp_path, Page(key, "is silent", "for 18 hours", "critical"))
        assert typed(path, capsys, "page", "send")[1]["acknowledged"] == []
        [page] = [one["message"] for one in bot.sent if one["text"].endswith("/ack bot-a")]
        bot.write("ack", to=page)
        make_due(tmp_path)
        status, said, err = typed(path, capsys, "page", "send")
        assert (status, said["acknowledged"], err) == (ExitCode.AGREED, ["bot-a"], "")
        bot.webhook = "https://elsewhere.example"
        make_due(tmp_path)
        status, _, err = typed(path, capsys, "page", "send")
    assert status == ExitCode.AGREED
    assert err.startswith("ANSWERS NOT READ through telegram 1: ")
    assert "canary" not in err


def test_a_token_on_a_channel_that_is_not_pagerduty_s_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ', api_token = { env = "HOME" }'
    path = write(tmp_path, channel(tmp_path, "url", "json://127.0.0.1:9/canary", more))
    status, _, err = typed(path, capsys, "page", "send")
    assert status == ExitCode.USAGE
    assert "paging.channels.1: api_token is for PagerDuty" in err
    path = write(tmp_path, channel(tmp_path, "url", pagerduty_url(), ', api_token = "canary"'))
    status, _, err = typed(path, capsys, "page", "send")
    assert status == ExitCode.USAGE
    assert "paging.channels.1.api_token: a secret is never written here" in err
    assert "canary" not in err
