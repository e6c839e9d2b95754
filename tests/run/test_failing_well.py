"""What a person reads where something fails: a command is typed, and its answer is read."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from recon.cli import cli, run_cli
from recon.control.ledger import CONTROL, Ledger
from recon.errors import ExitCode
from recon.paging.failure import page_failed
from recon.system.permissions import user_name
from recon.warehouse.commit import WAREHOUSE
from recon.warehouse.database import Warehouse
from tests.conftest import AsNobody
from tests.support.fleet import AS_OF, Desk, Trader, account, serving, write_folder
from tests.support.servers.channels import receiver, says
from tests.support.watching import Desk as Watcher
from tests.support.watching import beat, configured

ROOT = Path(__file__).resolve().parents[2]
ANOTHER = 1234567
"""A user that this machine does not have."""
CHANNEL = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n'
CONFIG = """\
[recon]
state = "state"
{settings}
[[accounts]]
id = "flex"
venue = "ibkr-flex"
mode = "paper"
currency = "USD"
since = 2026-05-01
calendar = "XNYS"
files = "statements/*.xml"

[[bots]]
id = "btc"
account = "flex"
instruments = ["BTC"]
mapping = "freqtrade"
database = "sqlite:///btc.sqlite"
"""


class Answer(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


Typing = Callable[..., Answer]


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str]) -> Typing:
    """Give what types a command."""

    def typing(*words: str | Path) -> Answer:
        capfd.readouterr()
        status = run_cli([str(word) for word in words])
        return Answer(status, *capfd.readouterr())

    return typing


def commands(group: click.Group = cli, before: Sequence[str] = ()) -> Iterator[list[str]]:
    """Yield the words of every command that there is."""
    for name, command in group.commands.items():
        words = [*before, name]
        yield from commands(command, words) if isinstance(command, click.Group) else [words]


def call(name: str, path: Path) -> list[str]:
    """Return a command with all that it needs, about a configuration or, for the demo, a folder."""
    words = name.split()
    if name == "demo":
        return [*words, "--folder", str(path.parent)]
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    values = {"bot": "btc", "as_of": AS_OF.isoformat(), "what": "send"}
    for each in command.params:
        if each.required:
            value = values.get(each.name or "", str(path.parent / "x"))
            words += [value] if isinstance(each, click.Argument) else [each.opts[0], value]
    more = {"mapping new": ["--bot", "btc"], "watch": ["--once"], "assign": ["--nobody"]}.get(
        name, []
    )
    return [*words, *more, "--config", str(path)]


EVERY = [" ".join(words) for words in commands() if words != ["schema"]]
"""Every command that reads a state or a configuration."""


def folder_of(folder: Path, settings: str = "") -> Path:
    """Write a configuration of an account whose statements are not there; return its path."""
    path = folder / "recon.toml"
    path.write_text(CONFIG.format(settings=settings))
    return path


def with_ledger(folder: Path, settings: str = "") -> Path:
    """Write a configuration, and the ledger of a run that published nothing."""
    path = folder_of(folder, settings)
    (folder / "state").mkdir(mode=0o700)
    with Ledger(folder / "state" / CONTROL):
        pass
    return path


def owners(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_uid for path in folder.rglob("*")}


# --- A state of another user --------------------------------------------------------------------


@pytest.mark.parametrize("command", EVERY)
def test_a_state_of_another_user_is_refused_by_every_command(
    command: str, typed: Typing, tmp_path: Path
) -> None:
    path = with_ledger(tmp_path)
    owner = "root"
    if os.geteuid() == 0:
        os.chown(tmp_path / "state", ANOTHER, ANOTHER)
        os.chown(tmp_path / "state" / CONTROL, ANOTHER, ANOTHER)
        owner = user_name(ANOTHER)
    else:
        path.write_text(path.read_text().replace('state = "state"', 'state = "/usr"'))
    if command == "demo" and os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    before = owners(tmp_path)
    answer = typed(*call(command, path))
    assert answer.status == ExitCode.USAGE, answer
    assert re.fullmatch(rf"recon: state belongs to {owner}: run as that user \(.*\)\n", answer.err)
    assert answer.out == ""
    assert owners(tmp_path) == before, "nothing is left in another user's folder"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("closed", ["state", ""])
def test_a_state_of_root_is_refused_to_others(
    closed: str, typed: Typing, tmp_path: Path, as_nobody: AsNobody
) -> None:
    """Also where its secrets are closed to them, or a folder on the way to it."""
    path = with_ledger(tmp_path)
    path.chmod(0o644)
    if not closed:
        (tmp_path / "private").mkdir(mode=0o700)
        shutil.move(tmp_path / "state", tmp_path / "private" / "state")
        path.write_text(path.read_text().replace('"state"', '"private/state"', 1))
    calls = [call(name, path) for name in EVERY if name != "demo"]
    assert callable(page_failed), "it is loaded: without rights it could not be read"
    with as_nobody():
        answers = [typed(*words) for words in calls]
    for answer in answers:
        assert answer.status == ExitCode.USAGE, answer
        assert answer.all.count("state belongs to root: run as that user") == 1
        assert len(answer.all.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", [CONTROL, WAREHOUSE, "lock"])
def test_a_file_that_another_user_left_in_the_state_is_named_with_its_remedy(
    name: str, typed: Typing, tmp_path: Path
) -> None:
    path = with_ledger(tmp_path)
    (tmp_path / "state" / name).touch()
    os.chown(tmp_path / "state" / name, ANOTHER, ANOTHER)
    answer = typed("breaks", "--config", str(path))
    assert answer.status == ExitCode.USAGE
    assert f"run  chown root {tmp_path / 'state' / name}" in answer.err
    assert len(answer.all.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_night_of_another_user_pages_and_leaves_no_file(typed: Typing, tmp_path: Path) -> None:
    with receiver(says(200)) as pager:
        path = with_ledger(tmp_path, '[paging]\nchannels = [ { url = { file = "pager" } } ]\n')
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        os.chown(tmp_path / "state", ANOTHER, ANOTHER)
        before = owners(tmp_path)
        answer = typed("run", "--config", str(path))
    assert answer.status == ExitCode.USAGE
    assert answer.all.count("state belongs to") == 1
    [page] = pager.took
    assert f"state belongs to {user_name(ANOTHER)}" in page["message"]
    assert owners(tmp_path) == before


def test_where_nothing_exists_yet_the_state_is_made(typed: Typing, tmp_path: Path) -> None:
    path = folder_of(tmp_path)
    answer = typed("run", "--no-fetch", "--no-page", "--config", str(path))
    assert answer.status == ExitCode.UNPROVEN, answer
    assert (tmp_path / "state").stat().st_uid == os.geteuid()


# --- The report that a run wrote ----------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--account", "flex")])
def test_a_run_names_the_report_that_it_wrote(
    more: tuple[str, ...], typed: Typing, tmp_path: Path
) -> None:
    path = folder_of(tmp_path)
    call = ("run", "--no-fetch", "--no-page", "--as-of", AS_OF.isoformat())
    answer = typed(*call, *more, "--config", path)
    [named] = re.findall(r"^report: (.*)$", answer.err, re.MULTILINE)
    assert [Path(named)] == list((tmp_path / "state" / "reports").iterdir())


# --- What is no longer watched ------------------------------------------------------------------


@pytest.mark.parametrize("left", ["the heartbeat", "the bot"])
def test_an_incident_of_what_is_no_longer_configured_ends_as_no_longer_watched(
    left: str, typed: Typing, tmp_path: Path
) -> None:
    minute = timedelta(minutes=1)
    with receiver(says(200)) as pager:
        channels = (pager.webhook,)
        bots: dict[str, Any] = {
            name: {"file": f"{name}.json", "period_s": 60} for name in ("btc", "eth")
        }
        config = configured(tmp_path, channels, **bots)
        config.state.mkdir()
        with Ledger(config.state / CONTROL) as ledger:
            here = Watcher(config, ledger)
            beat(tmp_path / "eth.json", 1, here.now, bot="eth")
            here.look()
            beat(tmp_path / "eth.json", 2, here.now + 3 * minute, bot="eth")
            here.look(3 * minute)
        assert [one["title"] for one in pager.took] == ["recon watch: btc is not alive: btc"]
        gone: dict[str, Any] = {"btc": None} if left == "the heartbeat" else {}
        path = configured(tmp_path, channels, **gone, sol=None).path
        answer = typed("watch", "--once", "--config", path)
    assert answer.status == ExitCode.AGREED, answer
    assert "btc is no longer watched: btc" in answer.out
    assert [(one["action"], one["title"]) for one in pager.took[1:]] == [
        ("resolve", "recon watch: btc is no longer watched: btc")
    ]
    assert "alive again" not in str(pager.took)
    assert "btc: no longer watched from" in pager.took[1]["message"]


# --- Errors are printed once --------------------------------------------------------------------


def damaged_ledger(path: Path) -> str:
    (path.parent / "state").mkdir(mode=0o700)
    (path.parent / "state" / CONTROL).write_bytes(b"no ledger, and long enough to be one" * 100)
    return "file is not a database"


def unknown_key(path: Path) -> str:
    path.write_text(path.read_text() + "\n[unknown]\nkey = 1\n")
    return "an unknown key"


def state_is_a_file(path: Path) -> str:
    (path.parent / "state").write_text("no folder")
    return "cannot make the state folder"


def ledger_is_gone(path: Path) -> str:
    (path.parent / "state").mkdir(mode=0o700)
    (path.parent / "state" / WAREHOUSE).touch()
    return f"{CONTROL} is missing"


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize("is_paged", [False, True])
@pytest.mark.parametrize(
    ("breaks", "status"),
    [
        (unknown_key, ExitCode.USAGE),
        (state_is_a_file, ExitCode.USAGE),
        (damaged_ledger, ExitCode.UNPROVEN),
        (ledger_is_gone, ExitCode.UNPROVEN),
    ],
)
def test_an_error_is_printed_once(
    breaks: Callable[[Path], str],
    status: int,
    is_paged: bool,
    more: tuple[str, ...],
    typed: Typing,
    tmp_path: Path,
) -> None:
    """By cron's night, which has no terminal: whether or not somebody is paged."""
    with receiver(says(200)) as pager:
        channels = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n' if is_paged else ""
        path = folder_of(tmp_path, channels)
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        says_so = breaks(path)
        answer = typed("run", *more, "--config", str(path))
    assert answer.status == status, answer
    assert answer.all.count(says_so) == 1, answer
    assert answer.out == ""
    assert len(pager.took) == is_paged
    if is_paged:
        assert says_so in pager.took[0]["message"]


def test_an_error_is_printed_once_on_a_terminal(tmp_path: Path) -> None:
    path = folder_of(tmp_path)
    says_so = unknown_key(path)
    ours, theirs = pty.openpty()
    call = [sys.executable, "-m", "recon", "run", "--config", str(path)]
    done = subprocess.run(call, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, check=False)
    os.close(theirs)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == ExitCode.USAGE
    assert said.count(says_so) == 1, said
    assert "PAGE" not in said, "a person at a terminal sees it"


def test_a_source_that_fails_is_said_once(typed: Typing, tmp_path: Path) -> None:
    with serving(account()) as server:
        path = write_folder(tmp_path, [(Desk(), server)], (Trader(claims=None),), "")
        (tmp_path / "okx.api_key").write_text("wrong")
        for more in ((), ("--json",)):
            call = ["run", "--no-page", "--as-of", AS_OF.isoformat(), "--config", str(path)]
            answer = typed(*call, *more)
            assert answer.status == ExitCode.UNPROVEN
            assert answer.all.count("Invalid OK-ACCESS-KEY") == 1, answer
            assert answer.all.count("btc.sqlite does not exist") == 1, answer


# --- Recon's own files, damaged -----------------------------------------------------------------


def test_a_damaged_report_is_said_by_the_check(typed: Typing, tmp_path: Path) -> None:
    path = folder_of(tmp_path)
    (tmp_path / "state" / "reports").mkdir(parents=True, mode=0o700)
    (tmp_path / "state" / "reports" / "2026-05-14.json").write_text('{"accounts": [')
    answer = typed("check", "--config", path)
    assert answer.status == ExitCode.UNPROVEN
    assert " ".join(answer.all.split()).count("2026-05-14.json is damaged") == 1
    assert "Traceback" not in answer.all


@pytest.mark.parametrize("command", sorted({*EVERY} - {"demo", "mapping new", "schedule"}))
def test_a_damaged_ledger_is_said_by_every_command_that_reads_it(
    command: str, typed: Typing, tmp_path: Path
) -> None:
    path = folder_of(tmp_path)
    damaged_ledger(path)
    with Warehouse(tmp_path / "state" / WAREHOUSE):
        pass
    answer = typed(*call(command, path))
    if command == "restore":  # there is no backup yet, and that is what it says
        assert answer.status == ExitCode.USAGE, answer
        return
    assert answer.status == ExitCode.UNPROVEN, answer
    assert "recon restore" in answer.all, answer
    assert "Traceback" not in answer.all
