"""What commands share: their options, and how they read the configuration and print.

Only click is imported here; see `cli.py`.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from recon.errors import UsageError

if TYPE_CHECKING:
    from recon.config import Config

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("recon.toml"),
    envvar="RECON_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)
json_option = click.option(
    "--json", "is_json", is_flag=True, help="Print one JSON document, and nothing else, on stdout."
)
verbose_option = click.option(
    "-v", "--verbose", "verbosity", count=True, help="Say more on stderr; twice for debugging."
)


def load_config(path: Path, *, with_secrets: bool | Literal["paging"] = True) -> Config:
    """Read the configuration; without its secrets where nobody is asked and nobody is paged.

    With `paging` it has the channels' secrets and no others.
    """
    from recon.config import load  # noqa: PLC0415 - pydantic, only once there is a command

    return load(path, with_secrets=with_secrets)


def read_date(text: str, option: str = "--as-of") -> date:
    """Return the date that an option names. Raises UsageError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: write the date as YYYY-MM-DD") from error


def print_json(document: dict[str, Any]) -> None:
    """Print one document on stdout."""
    click.echo(json.dumps(document, indent=1, ensure_ascii=False, default=_text))


def log(verbosity: int) -> None:
    """Log to stderr. Libraries that would show a key at DEBUG are held at INFO all the same."""
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbosity, 2)]
    logging.basicConfig(
        stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s"
    )
    for name in ("ccxt", "urllib3", "aiohttp", "asyncio", "apprise", "requests"):
        logging.getLogger(name).setLevel(max(level, logging.INFO))


def _text(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} does not belong in a document")
