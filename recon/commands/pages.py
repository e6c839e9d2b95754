"""`recon page`: send the messages in the outbox, or a drill. Asks no venue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from recon.commands.breaks import open_ledger
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

if TYPE_CHECKING:
    from recon.config.settings import Config


@click.command()
@click.argument("what", metavar="WHAT", type=click.Choice(["send", "test"]))
@config_option
@json_option
@verbose_option
def page(
    what: Literal["send", "test"],
    config_path: Path,
    is_json: bool,
    verbosity: int,
) -> int:
    """Send pending and repeated pages (send), or a drill through every channel (test).

    `recon page send` is for cron, every minute. It reads acknowledgements from Telegram and
    PagerDuty, sends the pages that are due, and repeats those that nobody has acknowledged. It
    prints nothing if there is nothing to do. Both exit 0, or 3 if a channel gave no receipt.
    """
    log(verbosity)
    config = load_config(config_path, with_secrets=("url", "api_token"))
    return _test(config, is_json=is_json) if what == "test" else _send(config, is_json=is_json)


COMMANDS = (page,)


def _send(config: Config, *, is_json: bool) -> int:
    from recon.control.ledger import CONTROL
    from recon.paging.acknowledgements import ReplyPoller
    from recon.paging.channels import recipients
    from recon.paging.delivery import Delivered, deliver

    def now() -> datetime:
        return datetime.now(UTC)

    channels = recipients(config.paging)
    acknowledged: list[str] = []
    done = Delivered(0, 0, [])
    if (config.state / CONTROL).exists():  # else no run yet, so nothing to send
        with open_ledger(config) as ledger, ReplyPoller(ledger, channels, now, _note) as poller:
            acknowledged = poller.poll(waits=True)
            done = deliver(config.state, ledger, channels, now, _note)
    if is_json:
        failed = [{"channel": name, "reason": reason} for name, reason in done.failed]
        counts = {"settled": done.settled, "waiting": done.waiting}
        print_json({"schema": 1, **counts, "failed": failed, "acknowledged": acknowledged})
    is_well = not done.failed and (channels or not done.waiting)
    return ExitCode.AGREED if is_well else ExitCode.UNPROVEN


def _test(config: Config, *, is_json: bool) -> int:
    from recon.paging.channels import recipients
    from recon.paging.drill import drill

    shown = drill(recipients(config.paging), datetime.now(UTC))
    if is_json:
        print_json({"schema": 1, "channels": shown})
    else:
        from recon.report.terminal import print_drill

        print_drill(shown)
    if not shown:
        _note("no channel is configured: nobody would be paged: add [paging] channels")
    is_well = shown and all(one["status"] == "delivered" for one in shown)
    return ExitCode.AGREED if is_well else ExitCode.UNPROVEN


def _note(text: str) -> None:
    echo(text, err=True)
