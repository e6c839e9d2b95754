"""The command schema: the JSON schema of a run's document."""

from __future__ import annotations

import json

import click

from recon.errors import ExitCode
from recon.system.output import echo


@click.command()
def schema() -> int:
    """Print the JSON schema of the document that `recon run --json` prints."""
    from recon.report.schema import json_schema

    echo(json.dumps(json_schema(), indent=1, ensure_ascii=False))
    return ExitCode.AGREED
