"""What befalls a night from outside: files that are not ours, clocks, hands at the same state."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr

from recon.cli import run_cli
from recon.config.settings import Channel, Paging, load
from recon.control.ledger import CONTROL, Ledger
from recon.core.page import FAILED, Page
from recon.demo.venues.okx_account import OkxAccount
from recon.errors import ExitCode, IdentityError
from recon.paging.channels import recipients
from recon.paging.delivery import deliver
from recon.run import service
from recon.run.backup import SET_ASIDE, backups, restore
from recon.run.check import _check_state
from recon.run.nightly import Night, run_night
from recon.run.service import NIGHT_LOCK, PATIENCE_S, nightly
from recon.system.state_folder import locked_state
from recon.warehouse.commit import BACKUPS, PUBLISHED
from tests.run.test_service import DAY, folder_of, night, told
from tests.support.fleet import (
    AS_OF,
    BTC,
    ETH,
    NOW,
    Desk,
    Trader,
    account,
    figures,
    round_trips,
    serving,
    write_folder,
)
from tests.support.servers.channels import Receiver, receiver, says

CHANNELS = '[paging]\nchannels = [ {{ url = {{ file = "pager" }} }}{more} ]\n'


@pytest.fixture
def traded() -> OkxAccount:
    book = account()
    round_trips(book, 20)
    return book


@contextmanager
def paged_folder(folder: Path, book: OkxAccount, more: str = "") -> Iterator[tuple[Path, Receiver]]:
    """Give a configuration with a channel that works, and who takes what it is sent."""
    with serving(book) as server, receiver(says(200)) as pager:
        path = folder_of(folder, server, CHANNELS.format(more=more))
        (folder / "pager").write_text(pager.webhook)
        (folder / "pager").chmod(0o600)
        yield path, pager


def test_a_session_that_fails_each_night_keeps_no_later_one_from_its_backup(
    traded: OkxAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_on_the_13th(asked: Night) -> dict[str, Any]:
        if asked.as_of == date(2026, 5, 13):
            raise IdentityError("an audit found a row")
        return run_night(asked)

    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        nightly(night(path, NOW - 2 * DAY))
        monkeypatch.setattr(service, "run_night", fails_on_the_13th)
        with pytest.raises(IdentityError):
            nightly(night(path))
    assert [one["as_of"] for one in backups(tmp_path / "state")] == ["2026-05-14", "2026-05-12"]


def test_junk_beside_the_backups_is_none_of_them_and_in_nobodys_way(
    traded: OkxAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        nightly(night(path))
        there = tmp_path / "state" / BACKUPS
        for name in ("cut-off", "list", "bytes", "folder", "file"):
            (there / f"2026-05-14-{name}").mkdir()
        (there / "2026-05-14-cut-off" / "manifest.json").write_text('{"as_of": "2026-0')
        (there / "2026-05-14-list" / "manifest.json").write_text("[]")
        (there / "2026-05-14-bytes" / "manifest.json").write_bytes(b"\xff\xfe")
        (there / "2026-05-14-folder" / "manifest.json").mkdir()
        (there / "2026-05-14-file.new").write_text("a file, and no folder")
        done = nightly(night(path))
    assert done.problem == ""
    assert _check_state(load(path))[0].is_ok
    capsys.readouterr()
    assert run_cli(["restore", "--list", "--json", "--config", str(path)]) == 0
    [backup] = json.loads(capsys.readouterr().out)["backups"]
    assert backup["run"] == done.documents[-1]["run"]
    assert run_cli(["restore", "--config", str(path)]) == 0


def test_a_reader_that_writes_keeps_no_other_from_the_next_night(
    traded: OkxAccount, tmp_path: Path
) -> None:
    """A notebook that forgot read_only holds the file of one night, and no later one's."""
    published = tmp_path / "state" / PUBLISHED
    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        nightly(night(path, NOW - DAY))
        with duckdb.connect(str(published)) as notebook:
            notebook.execute("create table mine as select 1 as x")
            nightly(night(path))
            copy = tmp_path / "other" / PUBLISHED  # this process has the path open already
            copy.parent.mkdir()
            for each in published.parent.glob(f"{PUBLISHED}*"):
                shutil.copyfile(each, copy.with_name(each.name))
            with duckdb.connect(str(copy), read_only=True) as reader:
                assert reader.execute("select as_of from reports").fetchall() == [("2026-05-14",)]


@pytest.mark.parametrize(
    "breaks",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"\n# caf\xe9\n"),
        lambda path: path.write_text(path.read_text() + "\n[[[\n"),
        lambda path: path.write_bytes(b"\x00"),
    ],
)
def test_a_configuration_that_is_no_text_is_a_mistake_in_it_and_no_bug(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], breaks: Any
) -> None:
    with paged_folder(tmp_path, account()) as (path, _):
        breaks(path)
        for command in (["run", "--json"], ["check", "--json"], ["watch", "--once", "--json"]):
            assert run_cli([*command, "--config", str(path)]) == ExitCode.USAGE
            said = capfd.readouterr()
            assert said.out == ""
            assert str(path) in said.err
            assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("more", "says_so"),
    [
        (', { url = { file = "mistyped" } }', "mistyped"),
        (', { url = { env = "RECON_NO_SUCH_VARIABLE" } }', "RECON_NO_SUCH_VARIABLE"),
        (', { url = { file = "no-url" } }', "paging.channels"),
    ],
)
def test_a_channel_that_cannot_be_used_is_paged_through_the_one_that_can(
    traded: OkxAccount, tmp_path: Path, capfd: pytest.CaptureFixture[str], more: str, says_so: str
) -> None:
    (tmp_path / "no-url").write_text("nonsense://canary/chat")
    (tmp_path / "no-url").chmod(0o600)
    with paged_folder(tmp_path, traded, more) as (path, pager):
        assert run_cli(["run", "--json", "-vv", "--config", str(path)]) == ExitCode.USAGE
        said = capfd.readouterr()
        [page] = pager.took
    assert said.out == ""
    assert says_so in said.err
    assert page["key"] == FAILED
    assert says_so in page["message"]
    assert "canary" not in said.err + page["message"]


@pytest.mark.parametrize("nights_before", [0, 1])
def test_a_page_whose_words_are_no_text_goes_out_all_the_same(
    traded: OkxAccount, tmp_path: Path, capfd: pytest.CaptureFixture[str], nights_before: int
) -> None:
    """A folder's name need not be UTF-8: Python has such bytes as surrogates."""
    folder = tmp_path / "caf\udce9 % 'q' \u202e <b>"
    folder.mkdir()
    with paged_folder(folder, traded) as (path, pager):
        state = json.dumps(str(tmp_path / "state"))  # DuckDB reads no such name
        path.write_text(path.read_text().replace('state = "state"', f"state = {state}"))
        for _ in range(nights_before):
            nightly(night(path))
        path.write_text(path.read_text() + "\n[unknown]\nkey = 1\n")
        assert run_cli(["run", "--json", "--config", str(path)]) == ExitCode.USAGE
        said = capfd.readouterr()
        [page] = [one for one in pager.took if one["key"] == FAILED]
    assert said.out == ""
    assert "unknown key" in page["message"]


def test_page_send_prints_a_document_also_before_the_first_night(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with paged_folder(tmp_path, account()) as (path, _):
        assert run_cli(["page", "send", "--json", "--config", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "settled": 0,
        "waiting": 0,
        "failed": [],
        "acknowledged": [],
    }


def test_what_a_clock_that_was_ahead_has_told_silences_no_later_night(
    traded: OkxAccount, tmp_path: Path
) -> None:
    def lying(pnl: str) -> Trader:
        return Trader(instruments=(BTC,), claims=[(NOW - timedelta(hours=9), pnl)])

    with serving(traded) as server, receiver(says(200)) as pager:
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        settings = CHANNELS.format(more="")
        quiet = [Trader("eth", instruments=(ETH,), claims=None)]
        path = write_folder(tmp_path, [(Desk(), server)], quiet, settings)
        nightly(night(path, NOW - DAY))
        nightly(night(path, NOW + DAY))
        pager.took.clear()
        path = write_folder(tmp_path, [(Desk(), server)], [*quiet, lying("77777")], settings)
        done = nightly(night(path))
        assert [one["as_of"] for one in done.documents] == ["2026-05-14"]
        assert [one["bot"] for one in done.documents[0]["breaks"]] == ["btc", "btc"]
        assert any("77777" in one["message"] for one in pager.took)
        assert told(tmp_path) == [("2026-05-13", True), ("2026-05-14", True)]
        with Ledger(tmp_path / "state" / CONTROL) as ledger:
            assert ledger.published() == {"okx": AS_OF}
        with duckdb.connect(str(tmp_path / "state" / PUBLISHED), read_only=True) as published:
            assert published.execute("select as_of from reports").fetchall() == [("2026-05-14",)]
        later = nightly(night(path, NOW + DAY))
    assert [one["as_of"] for one in later.documents] == ["2026-05-15"]


def test_a_page_that_a_clock_ahead_has_put_off_goes_out_once_it_is_right(tmp_path: Path) -> None:
    """TLS fails as long as the clock is wrong: so does each page, until the clock is put back."""
    ahead = NOW + 1000 * DAY
    page = Page("run-failed", "recon: it FAILED", "why", "critical")
    with receiver(says(500)) as pager, Ledger(tmp_path / CONTROL) as ledger:
        channel = Channel(url=SecretStr(pager.webhook))
        channels = recipients(Paging(channels=(channel,)))
        ledger.enqueue(page, ahead)
        assert deliver(tmp_path, ledger, channels, lambda: ahead, print).failed
        pager.answer = says(200)
        pager.took.clear()
        assert deliver(tmp_path, ledger, channels, lambda: NOW, print).waiting == 0
        assert [one["key"] for one in pager.took] == ["run-failed"]
        pager.took.clear()
        for minutes in (1, 14, 16):
            clock = partial(datetime.__add__, NOW, timedelta(minutes=minutes))
            deliver(tmp_path, ledger, channels, clock, print)
        assert [one["key"] for one in pager.took] == ["run-failed"]


def test_a_second_night_is_told_at_once_and_pages_nobody(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also between two sessions of the first, where nothing else is held."""
    with paged_folder(tmp_path, account()) as (path, pager):
        with locked_state(tmp_path / "state", NIGHT_LOCK):
            assert run_cli(["run", "--json", "--config", str(path)]) == ExitCode.LOCKED
        assert pager.took == []
    said = capfd.readouterr()
    assert said.out == ""
    assert "another run holds" in said.err


def test_a_night_waits_for_who_looks_at_the_state_and_pages_where_that_never_ends(
    traded: OkxAccount,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Somebody explains a bot, or reads its past for hours, as the night is due."""
    state = tmp_path / "state"
    with paged_folder(tmp_path, traded) as (path, pager):
        with ExitStack() as explaining:
            explaining.enter_context(locked_state(state))
            done = threading.Timer(0.5, explaining.pop_all().close)
            done.start()
            patient = replace(night(path), lock_patience_s=PATIENCE_S)
            assert [one["as_of"] for one in nightly(patient).documents] == ["2026-05-14"]
            done.join()
        pager.took.clear()
        with locked_state(state):
            typed = ["run", "--json", "--wait", "0.2", "--config", str(path)]
            assert run_cli(typed) == ExitCode.LOCKED
        [page] = [one for one in pager.took if one["key"] == FAILED]
    said = capfd.readouterr()
    assert said.out == ""
    assert "another run holds" in page["message"]


def test_a_restore_is_done_twice_and_the_nights_go_on_as_if_it_never_was(
    traded: OkxAccount, tmp_path: Path
) -> None:
    """Back by two nights, with the ledger and without it: no session twice, none left out."""
    state = tmp_path / "state"
    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        undisturbed = [nightly(night(path, NOW + n * DAY)).documents for n in (-2, -1, 0, 1)]
        oldest = backups(state)[-1]["backup"]
        for is_gone in (False, True):
            if is_gone:
                (state / CONTROL).unlink()
            for _ in range(2):
                restore(state, oldest, who="anna", user="anna", now=lambda: NOW + DAY)
            done = nightly(night(path, NOW + DAY)).documents
            days = [one["as_of"] for one in done]
            assert days == (["2026-05-13", "2026-05-14", "2026-05-15"] if is_gone else days[-1:])
            assert [figures(one) for one in done] == [
                figures(one) for [one] in undisturbed[-len(done) :]
            ]
            assert [one["restatements"] for one in done] == [[]] * len(done)
            assert all(is_told for _, is_told in told(tmp_path))
            with Ledger(state / CONTROL) as ledger:
                assert ledger.audit()[1] == []
                assert len(ledger.incidents("night-")) == 1
    assert len(list((state / SET_ASIDE).iterdir())) == 4
