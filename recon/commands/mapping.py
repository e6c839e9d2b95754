"""The commands for mappings: mapping new."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    verbose_option,
)
from recon.errors import ExitCode, UsageError
from recon.system.output import echo


@click.group()
@config_option
@json_option
@verbose_option
def mapping(**_: object) -> None:
    """Make a mapping for a bot database."""


@mapping.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--bot", metavar="ID", help="The configured bot whose database the mapping is for.")
@click.option("--books", metavar="URL", help="The bot database itself: sqlite:///path.")
@config_option
@json_option
@verbose_option
def new(
    folder: Path,
    bot: str | None,
    books: str | None,
    config_path: Path,
    is_json: bool,
    verbosity: int,
) -> int:
    """Write a first mapping into FOLDER: its queries, and the tables of the bot database.

    Nothing is overwritten. `recon check` names what the mapping still lacks.
    """
    log(verbosity)
    if (bot is None) == (books is None):
        raise UsageError("name the bot database by either --bot ID or --books URL")
    config = None
    if bot is not None:
        config = load_config(config_path, with_secrets=("database_password",))
    from recon.run.check import today
    from recon.run.mapping_skeleton import books_of, write_skeleton

    source = books_of(config, bot or "", books or "", now=lambda: datetime.now(UTC))
    paths = write_skeleton(folder, source, today())
    if is_json:
        print_json({"schema": 1, "written": [str(path) for path in paths]})
    else:
        for path in paths:
            echo(path)
    return ExitCode.AGREED
