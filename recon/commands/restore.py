"""The command restore: back to a backup. What is there now is set aside, and nothing is deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from recon.commands.breaks import by_option, signer
from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    verbose_option,
)
from recon.errors import ExitCode
from recon.system.output import echo


@click.command()
@click.argument("backup", metavar="[BACKUP]", required=False)
@click.option("--list", "is_list", is_flag=True, help="List the backups, and end.")
@by_option
@config_option
@json_option
@verbose_option
def restore(
    backup: str | None,
    is_list: bool,
    by: str | None,
    config_path: Path,
    is_json: bool,
    verbosity: int,
) -> int:
    """Restore the warehouse from BACKUP, by default the last backup.

    The control database (breaks, actions, pages) stays, unless it is missing or damaged. Files that
    are replaced are set aside. The next `recon run` fetches again what came since.
    """
    log(verbosity)
    config = load_config(config_path, with_secrets=False)
    from recon.run.backup import backups
    from recon.run.backup import restore as put_back

    if is_list:
        found = backups(config.state)
        if is_json:
            print_json({"schema": 1, "backups": found})
        for one in [] if is_json else found:
            echo(f"{one['backup']}  made {one['at'][:16]}  {one['bytes'] / 1e6:,.1f} MB")
        return ExitCode.AGREED
    who, user = signer(by)
    done = put_back(config.state, backup, who=who, user=user, now=lambda: datetime.now(UTC))
    if is_json:
        print_json(
            {
                "schema": 1,
                "backup": done.backup,
                "files": list(done.files),
                "set_aside": str(done.set_aside),
            }
        )
        return ExitCode.AGREED
    echo(f"restored {' and '.join(done.files)} from backup {done.backup}")
    echo(f"what was there lies in {done.set_aside}; next: recon run")
    return ExitCode.AGREED
