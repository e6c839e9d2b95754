"""The commands of the control database, typed: their output and their exit status."""

from __future__ import annotations

import json
import os
import pwd
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.commands import breaks as ledger_commands
from recon.control.breaks import Break, BreakObservation
from recon.control.ledger import Ledger
from recon.errors import ExitCode

AS_OF = date(2026, 5, 14)
AT = datetime(2026, 5, 15, 11, tzinfo=UTC)
CONFIG = """
[recon]
state = "state"
sign_off_by = {signers}
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = 2026-05-01
api_key = {{ env = "NOBODY_SET_THIS" }}
api_secret = {{ file = "nor-wrote-this" }}
passphrase = {{ env = "NOR_THIS" }}
[[bots]]
id = "btc"
account = "okx"
instruments = ["BTC-USDT-SWAP"]
database = "sqlite:///vaults/btc.sqlite"
[[bots]]
id = "eth"
account = "okx"
instruments = ["ETH-USDT-SWAP"]
database = "sqlite:///vaults/eth.sqlite"
"""
FOUND = [
    Break("okx", "btc", "window", "1682.00", "-373.00", "1.87"),
    Break("okx", "btc", "session", "-2.50", "10.00", "1.00", "2026-05-14"),
    Break("okx", "[retired]", "window", "7.00", "0", "1.00"),
]
DOCUMENT = {
    "as_of": "2026-05-14",
    "status": "diverged",
    "accounts": [{"account": "okx", "status": "proven", "session": "2026-05-14"}],
    "bots": [
        {
            "bot": "btc",
            "account": "okx",
            "status": "diverged",
            "window": {"divergence": "1682.00"},
            "session": {"divergence": "-2.50"},
        },
        {
            "bot": "eth",
            "account": "okx",
            "status": "unproven",
            "window": {"divergence": None},
            "session": {"divergence": None},
        },
    ],
}


class Desk:
    """A folder with a configuration and a control database, without the secrets that it names."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.configure(signers=1)

    def configure(self, *, signers: int) -> None:
        (self.folder / "recon.toml").write_text(CONFIG.format(signers=signers), encoding="utf-8")

    @property
    def ledger(self) -> Path:
        return self.folder / "state" / "control.sqlite"

    def run(self) -> None:
        """Write the control database as a run does."""
        self.ledger.parent.mkdir()
        judged = {(item.account, item.bot): "" for item in FOUND}
        with Ledger(self.ledger) as ledger:
            ledger.begin_run("r1", AS_OF, AT)
            ledger.record_breaks(
                BreakObservation("r1", AT, AS_OF, {"okx"}, judged, FOUND, lambda *_: 0)
            )
            ledger.end_run("r1", AT, DOCUMENT)

    def type(self, *arguments: str) -> tuple[int, str, str]:
        status = run_cli([*arguments, "--config", str(self.folder / "recon.toml")])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def json(self, *arguments: str, status: ExitCode = ExitCode.AGREED) -> dict[str, Any]:
        ended, out, err = self.type(*arguments, "--json")
        assert (ended, err) == (status, "")
        document = json.loads(out)
        assert document["schema"] == 1
        return dict(document)

    def refused(self, *arguments: str, status: ExitCode = ExitCode.USAGE) -> str:
        ended, out, err = self.type(*arguments)
        assert (ended, out) == (status, "")
        return err


@pytest.fixture
def bare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


@pytest.fixture
def desk(bare: Desk) -> Iterator[Desk]:
    bare.run()
    yield bare
    status, *_ = bare.type("audit")
    assert status == ExitCode.AGREED


CALLS = {
    "breaks": ("breaks",),
    "ack": ("ack", FOUND[0].id, "--note", "known"),
    "resolve": ("resolve", FOUND[0].id, "--reason", "booked"),
    "sign-off": ("sign-off", "btc", "--as-of", "2026-05-14", "--reason", "old"),
    "audit": ("audit",),
}


def test_every_command_of_the_ledger_is_tried_here() -> None:
    assert set(CALLS) == {command.name for command in ledger_commands.COMMANDS}


@pytest.mark.parametrize("name", CALLS)
def test_before_the_first_night_there_is_nothing_and_nothing_is_made(bare: Desk, name: str) -> None:
    assert "there is no control database yet: `recon run` creates it" in bare.refused(*CALLS[name])
    assert not bare.ledger.parent.exists()


@pytest.mark.parametrize("name", CALLS)
def test_no_secret_is_asked_for_and_json_is_all_that_is_printed(desk: Desk, name: str) -> None:
    assert "NOBODY_SET_THIS" in desk.refused("check")
    assert desk.json(*CALLS[name])


def test_breaks_are_listed_with_all_that_is_known_of_them(desk: Desk) -> None:
    listed = desk.json("breaks")["breaks"]
    assert [(row["break"], row["bot"], row["kind"]) for row in listed] == [
        (FOUND[2].id, "[retired]", "window"),
        (FOUND[1].id, "btc", "session"),
        (FOUND[0].id, "btc", "window"),
    ]
    assert listed[2] == {
        "break": FOUND[0].id,
        "bot": "btc",
        "account": "okx",
        "kind": "window",
        "session": None,
        "divergence": "1682.00",
        "first_seen": "2026-05-14",
        "last_seen": "2026-05-14",
        "age_sessions": 0,
        "severity": "critical",
        "status": "open",
        "reopened": False,
        "last_action": {
            "by": "run r1",
            "at": "2026-05-15T11:00:00+00:00",
            "reason": "divergence 1682.00 exceeds the tolerance of 1.87",
        },
        "assignments": [],
    }
    assert listed[1]["session"] == "2026-05-14"


def test_the_table_shows_them_to_a_person(desk: Desk) -> None:
    desk.type("ack", FOUND[0].id[:5], "--note", "[bold]fees[/bold] are not booked", "--by", "anna")
    _, out, _ = desk.type("breaks")
    table = " ".join(out.split())
    for part in (FOUND[0].id, "[retired]", "1,682.00", "critical", "acknowledged", "anna", "-2.50"):
        assert part in table
    assert "[bold]fees[/bold]" in table


def test_of_one_bot_and_of_all_time(desk: Desk) -> None:
    desk.type("resolve", FOUND[0].id, "--reason", "booked")
    assert [row["kind"] for row in desk.json("breaks", "--bot", "btc")["breaks"]] == ["session"]
    assert [row["kind"] for row in desk.json("breaks", "--open", "--bot", "btc")["breaks"]] == [
        "session"
    ]
    everything = desk.json("breaks", "--all", "--bot", "btc")["breaks"]
    assert [(row["kind"], row["status"]) for row in everything] == [
        ("session", "open"),
        ("window", "resolved"),
    ]
    assert len(desk.json("breaks", "--bot", "[retired]")["breaks"]) == 1
    assert desk.json("breaks", "--bot", "eth")["breaks"] == []
    assert desk.type("breaks", "--bot", "eth")[1] == "no breaks\n"
    assert "--bot doge: there is no such bot" in desk.refused("breaks", "--bot", "doge")


def test_who_says_so_is_the_user_of_this_machine_or_whom_by_names(desk: Desk) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    [shown] = desk.json("ack", FOUND[0].id, "--note", " known ")["breaks"]
    action = shown["last_action"]
    assert (action["by"], action["reason"], shown["status"]) == (user, "known", "acknowledged")
    assert datetime.now(UTC) >= datetime.fromisoformat(action["at"]) > AT
    [shown] = desk.json("resolve", FOUND[1].id, "--reason", "booked", "--by", "anna")["breaks"]
    action = shown["last_action"]
    assert (action["by"], action["reason"], shown["status"]) == ("anna", "booked", "resolved")
    with closing(sqlite3.connect(desk.ledger)) as db:
        details = db.execute("select detail from journal where act in ('acknowledge', 'resolve')")
        assert [json.loads(detail)["user"] for (detail,) in details] == [user, user]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ack", "nonsense", "--note", "x"), f"{FOUND[0].id}  btc window"),
        (("ack", FOUND[0].id), "--note"),
        (("ack", FOUND[0].id, "--note", " "), "--note is empty: write a text"),
        (("resolve", FOUND[0].id, "--reason", "x", "--by", ""), "--by is empty: write a text"),
        (("sign-off", "doge", "--as-of", "2026-05-14", "--reason", "x"), "use one of btc, eth"),
        (("sign-off", "btc", "--as-of", "today", "--reason", "x"), "write the date as YYYY-MM-DD"),
        (("sign-off", "btc", "--as-of", "2026-05-13", "--reason", "x"), "--as-of 2026-05-13"),
    ],
)
def test_what_cannot_be_done_is_two_and_changes_nothing(
    desk: Desk, arguments: tuple[str, ...], said: str
) -> None:
    before = desk.json("audit")
    assert said in desk.refused(*arguments)
    assert desk.json("audit") == before


def test_what_is_not_proven_is_not_signed_off(desk: Desk) -> None:
    before = desk.json("audit")
    command = ("sign-off", "eth", "--as-of", "2026-05-14", "--reason", "x")
    assert "eth is unproven" in desk.refused(*command, status=ExitCode.UNPROVEN)
    assert desk.json("audit") == before


def test_a_sign_off_says_whether_it_counts(desk: Desk) -> None:
    desk.configure(signers=2)
    command = ("sign-off", "btc", "--as-of", "2026-05-14", "--reason", "x")
    _, out, _ = desk.type(*command, "--by", "anna")
    assert out == (
        "btc: 1682.00 as of 2026-05-14 signed off by anna; it counts once another person "
        "has signed it off\n"
    )
    said = desk.json(*command, "--by", "ben")["sign_off"]
    assert said == {
        "bot": "btc",
        "account": "okx",
        "as_of": "2026-05-14",
        "amount": "1682.00",
        "day": "-2.50",
        "signers": ["anna", "ben"],
        "needed": 2,
        "counts": True,
    }


def test_an_altered_journal_is_three_and_says_where(bare: Desk) -> None:
    bare.run()
    bare.type("ack", FOUND[0].id, "--note", "known")
    whole = bare.json("audit")
    assert (whole["ok"], whole["entries"], whole["altered"], whole["problems"]) == (
        True,
        4,
        None,
        [],
    )
    assert f"4 entries, head {whole['head']}" in bare.type("audit")[1]
    with closing(sqlite3.connect(bare.ledger)) as db:
        db.execute("drop trigger journal_keeps_what_it_has")
        db.execute("update journal set why = 'never seen' where entry = 3")
        db.commit()
    found = bare.json("audit", status=ExitCode.UNPROVEN)
    assert (found["ok"], found["altered"], found["entries"]) == (False, 3, 2)
    status, out, _ = bare.type("audit")
    assert status == ExitCode.UNPROVEN
    assert "FAIL entry 3 was altered" in out


@pytest.mark.parametrize("name", CALLS)
def test_a_ledger_that_is_damaged_is_three_and_is_left_alone(bare: Desk, name: str) -> None:
    bare.run()
    whole = bare.ledger.read_bytes()
    damaged = whole[:4096] + bytes(len(whole) - 4096)
    bare.ledger.write_bytes(damaged)
    assert "cannot be used" in bare.refused(*CALLS[name], status=ExitCode.UNPROVEN)
    assert bare.ledger.read_bytes() == damaged


def test_a_head_that_is_not_there_is_three(desk: Desk) -> None:
    found = desk.json("audit", "--head", "f" * 64, status=ExitCode.UNPROVEN)
    assert "no entry has the hash ffff" in found["problems"][0]


def test_help_loads_none_of_what_a_command_needs() -> None:
    asked = (
        "import sys; from recon.cli import run_cli; run_cli(['--help']); "
        "print(sorted({'pydantic', 'rich', 'sqlite3', 'duckdb', 'ccxt'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
