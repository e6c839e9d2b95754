"""The command schedule: the cron and systemd lines that start the nightly run in time."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    read_time,
    verbose_option,
)
from recon.errors import ExitCode
from recon.system.output import echo

if TYPE_CHECKING:
    from recon.run.schedule import Schedule


@click.command()
@click.option(
    "--at",
    "at",
    metavar="HH:MM",
    help="Compare this time (UTC) with the opens, in place of the best one.",
)
@config_option
@json_option
@verbose_option
def schedule(at: str | None, config_path: Path, is_json: bool, verbosity: int) -> int:
    """Print the lines for cron and systemd that fit, and when the next run starts.

    It warns about a time that is too late for an open.
    """
    log(verbosity)
    daily = None if at is None else read_time(at, "--at")
    config = load_config(config_path, with_secrets=False)
    from recon.run.schedule import schedule as scheduled

    planned = scheduled(config, datetime.now(UTC), daily)
    shown = describe(planned, command_line(config.path), None)
    if is_json:
        print_json({"schema": 1, **shown})
        return ExitCode.AGREED
    for line in lines(shown):
        echo(line)
    for warning in shown["warnings"]:
        echo(f"WARNING {warning}", err=True)
    return ExitCode.AGREED


def command_line(config_path: Path) -> str:
    """Return the command line for cron and systemd, with absolute paths."""
    program = Path(sys.executable).with_name("recon")
    start = [str(program)] if program.exists() else [sys.executable, "-m", "recon"]
    return shlex.join([*start, "run", "--config", str(config_path)])


def describe(planned: Schedule, command: str, zone: tzinfo | None) -> dict[str, Any]:
    """Return a schedule as JSON values; local times are in `zone`, or in this machine's zone."""

    def both(at: datetime) -> dict[str, str]:
        return {"utc": at.isoformat(), "local": at.astimezone(zone).isoformat()}

    upcoming = {name: openings[0] for name, openings in planned.openings.items() if openings}
    return {
        "at": f"{planned.daily:%H:%M}",
        "crontab": list(planned.crontab(command)),
        "on_calendar": planned.on_calendar,
        "next_run": both(planned.next_run),
        "accounts": [
            {
                "account": name,
                "opens": both(opening.at),
                "needed_by": both(opening.needed_by),
                "run": both(opening.run(planned.daily)),
                "late": opening.is_late(planned.daily),
            }
            for name, opening in upcoming.items()
        ],
        "warnings": planned.warnings(),
    }


def lines(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a described schedule for a person."""
    yield f"every day at {shown['at']} UTC; next {_both(shown['next_run'])}"
    yield from ("", "crontab:", *(f"  {line}" for line in shown["crontab"]))
    yield from (
        "",
        "systemd timer:",
        f"  OnCalendar={shown['on_calendar']}",
        "  Persistent=true",
        "",
    )
    for account in shown["accounts"]:
        yield f"{account['account']}: next open {_both(account['opens'])}"
        standing = "TOO LATE" if account["late"] else "in time"
        yield f"  needed by {_both(account['needed_by'])}"
        yield f"  the run for it {_both(account['run'])}: {standing}"


def _both(at: Mapping[str, str]) -> str:
    utc, local = (datetime.fromisoformat(at[name]) for name in ("utc", "local"))
    return f"{utc:%a %Y-%m-%d %H:%M} UTC, here {local:%a %H:%M} ({local:%z})"
