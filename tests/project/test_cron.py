"""The samples in cron/: they are well-formed, run at the right hour, and do what they say."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest

from recon.config.settings import OkxAccount, load
from recon.errors import ExitCode
from recon.fetch.heartbeats import DEADLINE_S
from recon.monitor.watch import LONGEST_PAUSE_S, TURN_S

ROOT = Path(__file__).resolve().parents[2]
CRON = ROOT / "cron"
SERVICES = ("recon.service", "recon-page.service", "recon-drill.service")
WATCH = "recon-watch.service"
UNITS = (
    *SERVICES,
    WATCH,
    "recon.timer",
    "recon-page.timer",
    "recon-drill.timer",
    "recon-failed@.service",
)
NEW_YORK = ZoneInfo("America/New_York")
YEAR = 2026

Unit = dict[str, dict[str, list[str]]]

KNOWN = {
    "Unit": {
        *("Description", "Documentation", "Wants", "After", "OnFailure"),
        *("StartLimitIntervalSec", "StartLimitBurst"),
    },
    "Timer": {"OnCalendar", "Persistent", "RandomizedDelaySec", "AccuracySec"},
    "Install": {"WantedBy"},
    "Service": {
        *("Type", "ExecStart", "SuccessExitStatus", "TimeoutStartSec", "User", "Group"),
        *("StateDirectory", "StateDirectoryMode", "UMask", "LoadCredential", "NoNewPrivileges"),
        *("CapabilityBoundingSet", "ProtectSystem", "ProtectHome", "ProtectProc", "ProtectClock"),
        *("ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"),
        *("ProtectControlGroups", "PrivateTmp", "PrivateDevices", "LockPersonality"),
        *("RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID"),
        *("RemoveIPC", "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber"),
        *("SyslogIdentifier", "SyslogLevel", "NotifyAccess", "WatchdogSec", "TimeoutStopSec"),
        *("Restart", "RestartSec", "RestartPreventExitStatus"),
    },
}
"""Every directive in use, by section: a misspelt one is only warned of by systemd, and ignored."""


def unit(name: str) -> Unit:
    """Read a unit; a directive may stand several times. AssertionError for any other line."""
    found: Unit = {}
    section: dict[str, list[str]] = {}
    for line in (CRON / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(heading[1], defaultdict(list))
            continue
        key, separator, value = line.partition("=")
        assert separator, line
        section[key].append(value)
    return found


def crontab() -> tuple[dict[str, str], list[tuple[list[str], str]]]:
    """Read the crontab: its settings, and its lines as five fields and a command."""
    settings: dict[str, str] = {}
    lines = []
    for line in (CRON / "crontab").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if setting := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            settings[setting[1]] = setting[2]
        else:
            *fields, command = line.split(maxsplit=5)
            lines.append((fields, command))
    return settings, lines


def runs_by_cron() -> list[datetime]:
    """Return every minute of the year at which the crontab's line for the night runs."""
    settings, [(fields, _command), *_] = crontab()
    assert settings["CRON_TZ"] == "UTC"
    minute, hour, *days = fields
    assert days == ["*", "*", "*"]
    return [
        datetime(YEAR, 1, 1, int(hour), int(minute), tzinfo=UTC) + timedelta(days=n)
        for n in range(365)
    ]


def runs_by_timer() -> list[datetime]:
    """Return every instant of the year at which the timer may start the service at the latest."""
    timer = unit("recon.timer")["Timer"]
    [calendar] = timer["OnCalendar"]
    found = re.fullmatch(r"\*-\*-\* (\d\d):(\d\d):(\d\d) UTC", calendar)
    assert found is not None
    hour, minute, second = map(int, found.groups())
    delay = timedelta(seconds=int(timer["RandomizedDelaySec"][0]))
    first = datetime(YEAR, 1, 1, hour, minute, second, tzinfo=UTC) + delay
    return [first + timedelta(days=n) for n in range(365)]


@pytest.mark.parametrize("runs", [runs_by_cron(), runs_by_timer()], ids=["crontab", "timer"])
def test_each_run_is_after_ibkr_renews_and_done_before_new_york_opens(
    runs: list[datetime],
) -> None:
    [longest] = unit("recon.service")["Service"]["TimeoutStartSec"]
    assert longest == "1h"
    opens = exchange_calendars.get_calendar("XNYS").opens
    opens = opens[opens.dt.year == YEAR]
    assert len(opens) > 240
    offsets = set()
    for opening in opens:
        opened_at = opening.to_pydatetime().astimezone(NEW_YORK)
        renewed_at = opened_at.replace(hour=5, minute=0)
        of_the_day = [run for run in runs if run.astimezone(NEW_YORK).date() == opened_at.date()]
        assert len(of_the_day) == 1
        assert renewed_at < of_the_day[0] < opened_at - timedelta(hours=1)
        offsets.add(opened_at.utcoffset())
    assert len(offsets) == 2, "both halves of the year are there"


def test_the_last_session_has_ended_by_then() -> None:
    # Crypto days end at 00:00 UTC, IBKR's at 20:20 New York time: 00:20 or 01:20 UTC.
    assert all(run.hour >= 2 for run in (*runs_by_cron(), *runs_by_timer()))


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_well_formed(name: str) -> None:
    parsed = unit(name)
    assert parsed["Unit"]["Description"]
    for section, directives in parsed.items():
        assert set(directives) <= KNOWN[section]
    for command in parsed.get("Service", {}).get("ExecStart", []):
        assert command.removeprefix("-").startswith("/")


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed; the test above reads the units without it",
)
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (CRON / name).read_text(encoding="utf-8")
        for service in SERVICES:
            (tmp_path / name.replace("@.", f"@{service}.")).write_text(
                text.replace("/opt/recon/.venv/bin/recon", "/bin/true"), encoding="utf-8"
            )
    for path in sorted(tmp_path.iterdir()):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), path.name


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "oneshot") for name in SERVICES), (WATCH, "notify")]
)
def test_a_service_is_hardened_and_bounded(name: str, kind: str) -> None:
    service = unit(name)["Service"]
    expected = {
        "Type": kind,
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "StateDirectory": "recon",
        "StateDirectoryMode": "0700",
        "UMask": "0077",
        "User": "recon",
    }
    assert {key: service[key] for key in expected} == {k: [v] for k, v in expected.items()}
    assert "TimeoutStartSec" in service
    hardening = {"ProtectClock", "RestrictAddressFamilies", "SystemCallFilter", "PrivateDevices"}
    assert {key: service[key] for key in hardening} == {
        key: unit("recon.service")["Service"][key] for key in hardening
    }


def test_the_watch_is_ended_before_systemd_has_to_and_started_again_but_for_a_mistake() -> None:
    parsed = unit("recon-watch.service")
    service = parsed["Service"]
    for limit in ("WatchdogSec", "TimeoutStartSec", "TimeoutStopSec"):
        [(minutes, _)] = re.findall(r"^(\d+)(min)$", service[limit][0])
        assert int(minutes) * 60 > TURN_S + LONGEST_PAUSE_S + DEADLINE_S
    assert service["Restart"] == ["always"]
    assert service["RestartPreventExitStatus"] == [str(int(ExitCode.USAGE))]
    assert parsed["Unit"]["OnFailure"] == ["recon-failed@%n.service"]
    assert service["LoadCredential"] == ["page-url:/etc/recon/secrets/page-url"], "and no key"


def test_a_night_that_diverged_is_a_success_of_the_unit_and_any_other_that_failed_is_none() -> None:
    # With each break acknowledged a run still ends with 1. Of 3 recon may not be able to page.
    parsed = unit("recon.service")
    successes = {int(status) for status in parsed["Service"]["SuccessExitStatus"]}
    assert successes == {int(ExitCode.DIVERGED)}
    assert parsed["Unit"]["OnFailure"] == ["recon-failed@%n.service"]
    page = unit("recon-page.service")  # hears of a divergence that no channel has taken
    assert "SuccessExitStatus" not in page["Service"]
    assert page["Unit"]["OnFailure"] == ["recon-failed@%n.service"]


def test_the_failed_unit_runs_the_users_own_command(tmp_path: Path) -> None:
    hook = tmp_path / "on-failure"
    hook.write_text('#!/bin/sh\necho "told of $1"\n', encoding="utf-8")
    command = unit("recon-failed@.service")["Service"]["ExecStart"][-1]
    shell = command.replace("$$", "$").replace("%i", "recon.service")
    shell = shell.replace("/etc/recon/on-failure", str(hook))
    silent = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
    hook.chmod(0o755)
    told = subprocess.run(shell, shell=True, capture_output=True, text=True, check=True)
    assert (silent.stdout, told.stdout) == ("", "told of recon.service\n")


@pytest.mark.parametrize(
    ("status", "mailed"), [(0, ""), (3, "as of yesterday\nrecon: exit status 3\n")]
)
def test_cron_mails_a_night_only_when_it_is_not_agreed(
    tmp_path: Path, status: int, mailed: str
) -> None:
    program = tmp_path / "recon"
    program.write_text(f"#!/bin/sh\necho as of yesterday\nexit {status}\n", encoding="utf-8")
    program.chmod(0o755)
    settings, [(_fields, command), *_] = crontab()
    command = command.replace("/opt/recon/.venv/bin/recon", str(program))
    command = command.replace("/var/lib/recon", str(tmp_path))
    assert "%" not in command, "cron reads % as the end of the line"

    done = subprocess.run(
        [settings["SHELL"], "-c", command], capture_output=True, text=True, check=True
    )

    assert done.stdout == mailed
    assert stat.S_IMODE((tmp_path / "night.log").stat().st_mode) == 0o600


def test_pages_are_looked_after_each_minute_and_drilled_each_week() -> None:
    _settings, [_night, (minutely, _send), (weekly, _test)] = crontab()
    assert minutely == ["*"] * 5
    assert weekly == ["0", "12", "*", "*", "1"]
    assert unit("recon-page.timer")["Timer"]["OnCalendar"] == ["*-*-* *:*:00 UTC"]
    assert unit("recon-drill.timer")["Timer"]["OnCalendar"] == ["Mon *-*-* 12:00:00 UTC"]


@pytest.mark.parametrize(("line", "name"), list(enumerate(SERVICES)))
def test_the_crontabs_command_is_one_that_recon_understands(line: int, name: str) -> None:
    _settings, lines = crontab()
    command = lines[line][1]
    of_service = unit(name)["Service"]["ExecStart"][0]
    assert of_service in command
    done = subprocess.run(
        [sys.executable, "-m", "recon", *of_service.split()[1:], "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0


def test_the_watch_is_one_that_recon_understands() -> None:
    text = (CRON / "crontab").read_text(encoding="utf-8")
    [each_minute] = re.findall(r"^#\* \* \* \* \* umask 077; (.*) >/dev/null$", text, re.MULTILINE)
    of_watch = unit("recon-watch.service")["Service"]["ExecStart"][0]
    assert each_minute == of_watch.replace("recon watch", "recon watch --once")
    for line in (of_watch, each_minute):
        done = subprocess.run(
            [sys.executable, "-m", "recon", *line.split()[1:], "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0


@pytest.mark.parametrize(
    "mode",
    [
        0o400,
        0o440,
    ],
)
def test_the_services_credentials_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    given = [line.partition(":")[0] for line in unit("recon.service")["Service"]["LoadCredential"]]
    for name in given:
        (tmp_path / name).write_text(f"the {name}\n", encoding="utf-8")
        (tmp_path / name).chmod(mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    config = tmp_path / "recon.toml"
    config.write_text(
        f"""
        [[accounts]]
        id = "okx-main"
        venue = "okx"
        currency = "USDT"
        since = {date(YEAR, 1, 1)}
        api_key = {{ file = "$CREDENTIALS_DIRECTORY/okx-key" }}
        api_secret = {{ file = "$CREDENTIALS_DIRECTORY/okx-secret" }}
        passphrase = {{ file = "$CREDENTIALS_DIRECTORY/okx-passphrase" }}

        [paging]
        channels = [{{ url = {{ file = "$CREDENTIALS_DIRECTORY/page-url" }} }}]
        """,
        encoding="utf-8",
    )

    loaded = load(config)

    [account] = loaded.accounts
    assert isinstance(account, OkxAccount)
    assert account.passphrase.get_secret_value() == "the okx-passphrase"
    assert loaded.paging.channels[0].url.get_secret_value() == "the page-url"
