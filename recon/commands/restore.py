"""The command restore: replace the warehouse with a backup, and set the old files aside."""

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
@click.option("--list", "is_list", is_flag=True, help="List the backups and restore nothing.")
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
    are replaced are set aside. The next `recon run` fetches the evidence since the backup again.
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
    echo(f"the old files are in {done.set_aside}; next: recon run")
    return ExitCode.AGREED
