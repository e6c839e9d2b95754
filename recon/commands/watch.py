"""`recon watch`: one look for cron, or a loop for systemd. It never waits for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    verbose_option,
)
from recon.errors import StateError
from recon.system.output import note


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Look once and end: for cron, once each period.")
@json_option
@verbose_option
def watch(config_path: Path, once: bool, is_json: bool, verbosity: int) -> int:
    """Watch the bots' heartbeats and the deadline of each session, and page if either fails.

    It runs until a signal ends it: SIGTERM exits 143, SIGINT 130. With --once it exits 0 if all is
    well, 1 if an incident stands or a session is not published an hour before the next open, and 3
    if a bot has not been seen yet.
    """
    log(verbosity)
    config = load_config(config_path, with_secrets={"url", "redis", "api_token"})
    from recon.control.ledger import CONTROL, Ledger
    from recon.monitor.watch import Watch, exit_code, look_once, stay
    from recon.paging.channels import recipients
    from recon.system.interruption import Stop
    from recon.system.state_folder import locked_state, storing

    def show(document: dict[str, Any]) -> None:
        if is_json:
            print_json(document)
        else:
            from recon.report.terminal import print_watch

            print_watch(document)

    recipients(config.paging)  # refuse an unusable channel before a page needs it
    try:
        with (
            storing(config.state),
            locked_state(config.state, "watch.lock") as state,
            Ledger(state / CONTROL) as ledger,
        ):
            watching = Watch(config, ledger, note)
            if not once:
                stop = Stop()  # a signal ends the loop after its turn
                stay(watching, stop.wait, show)
                return stop.exit_code
            document = look_once(watching)
            show(document)
            return exit_code(document)
    except StateError as error:
        raise StateError(
            f"recon watch has stopped, and no bot is watched until it runs again: {error}"
        ) from error
