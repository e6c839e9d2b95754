"""`recon schedule`, typed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recon.cli import run_cli
from recon.errors import ExitCode

CONFIG = """
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = 2026-05-01
api_key = { env = "NOBODY_SET_THIS" }
api_secret = { file = "nor-wrote-this" }
passphrase = { env = "NOR_THIS" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a desk" / "recon.toml"
    path.parent.mkdir()
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_it_prints_what_cron_and_systemd_take(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["schedule", "--config", str(path)]) == ExitCode.AGREED
    said = capsys.readouterr()
    assert said.err == ""
    assert "  CRON_TZ=UTC\n  0 11 * * * " in said.out
    assert f"run --config {shlex.quote(str(path))}\n" in said.out
    assert "  OnCalendar=*-*-* 11:00:00 UTC\n  Persistent=true\n" in said.out
    assert "okx: next open " in said.out
    assert said.out.rstrip().endswith("in time")


def test_the_line_s_command_is_one_that_runs(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cli(["schedule", "--json", "--config", str(path)])
    command = json.loads(capsys.readouterr().out)["crontab"][1].split(maxsplit=5)[5]
    done = subprocess.run(["/bin/sh", "-c", f"{command} --help"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_time_of_one_s_own_is_held_against_the_opens(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["schedule", "--at", "12:30", "--json", "--config", str(path)]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["at"], told["on_calendar"]) == ("12:30", "*-*-* 12:30:00 UTC")
    [account] = told["accounts"]
    assert account["late"] is True
    assert len(told["warnings"]) == 1
    now, until = datetime.now(UTC), datetime.fromisoformat(told["next_run"]["utc"])
    assert timedelta(0) <= until - now + timedelta(minutes=1) <= timedelta(days=1, minutes=1)

    run_cli(["schedule", "--at", "12:30", "--config", str(path)])
    said = capsys.readouterr()
    assert said.err.startswith("WARNING okx: the run is too late for ")
    assert said.out.rstrip().endswith("TOO LATE")


@pytest.mark.parametrize("wrong", ["25:00", "noon", "11:00:30", "11:00Z"])
def test_a_time_that_is_none_is_refused(
    path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["schedule", "--at", wrong, "--config", str(path)]) == ExitCode.USAGE
    assert f"--at {wrong}: write the time as HH:MM, in UTC" in capsys.readouterr().err


def test_local_time_is_this_machine_s(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recon", "schedule", "--json", "--config", str(path)],
        env={"TZ": "Asia/Kathmandu", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["next_run"]["local"].endswith("T16:45:00+05:45")
