"""The options that commands share, and functions to read the configuration and print.

Only click is imported here; see `cli.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from recon.errors import UsageError
from recon.outside_text import shown_document
from recon.system.output import echo, log_to_stderr

if TYPE_CHECKING:
    from recon.config.settings import Config


def _nearest(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Return an option's value from after the command's name, else from before it."""
    key = f"{__name__}.{option.name}"
    is_given = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    if is_given or key not in context.meta:
        context.meta[key] = value
    return context.meta[key]


# Groups and commands share these three. A group parses first; `meta` goes from it to its command.
config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recon.toml"),
    envvar="RECON_CONFIG",
    show_default=True,
    show_envvar=True,
    callback=_nearest,
    help="The configuration file.",
)
json_option = click.option(
    "--json",
    "is_json",
    is_flag=True,
    callback=_nearest,
    help="Print one JSON document on stdout, everything else on stderr.",
)
verbose_option = click.option(
    "-v",
    "--verbose",
    "verbosity",
    count=True,
    callback=_nearest,
    help="Write more to stderr, such as the time of each stage; twice for debugging.",
)

wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a run in progress if no backup holds its commit; then exit 75.",
)


def load_config(path: Path, *, with_secrets: bool | Collection[str] = True) -> Config:
    """Read the configuration, with the secrets that the command needs: all, none, or by key.

    Raises ConfigError. Raises OwnerError, before any secret is read, if the state belongs to
    another user: this user could not read that user's secrets.
    """
    from recon.config.settings import load, state_folder
    from recon.control import version_1
    from recon.system.state_folder import assert_ours

    if (state := state_folder(path)) is not None:
        assert_ours(state)
    config = load(path, with_secrets=with_secrets)
    if (config.state / version_1.FILE).exists():
        from recon.run.migration import migrate

        migrate(config.state)
    return config


def read_date(text: str, option: str = "--as-of") -> date:
    """Return the date that an option names. Raises UsageError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: write the date as YYYY-MM-DD") from error


def read_time(text: str, option: str) -> time:
    """Return the time of day, in UTC, that an option names. Raises UsageError."""
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time of day has no zone
    except ValueError as error:
        raise UsageError(f"{option} {text}: write the time as HH:MM, in UTC") from error


def print_json(document: dict[str, Any]) -> None:
    """Print one document on stdout."""
    text = json.dumps(shown_document(document), indent=1, ensure_ascii=False, default=_text)
    echo(text)


def log(verbosity: int) -> None:
    """Log to stderr. Libraries that would log a key at DEBUG stay at INFO."""
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbosity, 2)]
    log_to_stderr(level)
    for name in ("ccxt", "urllib3", "aiohttp", "asyncio", "apprise", "requests"):
        logging.getLogger(name).setLevel(max(level, logging.INFO))


def _text(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} does not belong in a document")
