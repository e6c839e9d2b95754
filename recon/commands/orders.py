"""Commands for orders that the evidence gives to no bot: unowned, assign.

They ask no venue and need no secret. They read the evidence that the last run has stored.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from recon.commands.breaks import by_option, said, signer
from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    verbose_option,
    wait_option,
)
from recon.errors import ExitCode, UsageError
from recon.system.output import echo, note


@click.command()
@config_option
@click.option(
    "--account",
    "accounts",
    metavar="ACCOUNT",
    multiple=True,
    help="List only the fills of this account; may be repeated.",
)
@click.option(
    "--all/--open",
    "is_all",
    help="List assigned fills as well, or only fills without an owner [default].",
)
@wait_option
@json_option
@verbose_option
def unowned(
    config_path: Path,
    accounts: tuple[str, ...],
    is_all: bool,
    wait_s: float,
    is_json: bool,
    verbosity: int,
) -> int:
    """List the fills that no bot owns, and the assignments of their orders."""
    log(verbosity)
    config = load_config(config_path, with_secrets=False)
    _known_accounts(config_path, {one.id for one in config.accounts}, accounts)
    from recon.run.unowned import unowned_fills

    fills = unowned_fills(config, accounts=accounts, is_all=is_all, patience_s=wait_s, note=note)
    if is_json:
        print_json({"schema": 1, "unowned": fills})
    else:
        from recon.report.terminal import print_unowned

        print_unowned(fills)
    return ExitCode.AGREED


@click.command()
@click.argument("orders", metavar="ORDER", nargs=-1, required=True)
@config_option
@click.option("--bot", metavar="BOT", help="The bot that placed the order.")
@click.option("--nobody", is_flag=True, help="No bot placed the order: it is a person's own trade.")
@click.option("--reason", required=True, metavar="TEXT", help="How the owner is known.")
@click.option(
    "--account",
    metavar="ACCOUNT",
    help="The account of the order, if several accounts have such an order.",
)
@by_option
@wait_option
@json_option
@verbose_option
def assign(  # noqa: PLR0913, PLR0917 - click passes each option
    orders: tuple[str, ...],
    config_path: Path,
    bot: str | None,
    nobody: bool,
    reason: str,
    account: str | None,
    by: str | None,
    wait_s: float,
    is_json: bool,
    verbosity: int,
) -> int:
    """Assign orders to a bot, or to no bot: the next run applies it.

    ORDER is the broker's id of an order. For a fill without an order it is the id of the fill.
    Several orders may be given.
    """
    log(verbosity)
    if (bot is None) != nobody:
        raise UsageError("name the owner of the orders: either --bot BOT or --nobody")
    who, user = signer(by)
    config = load_config(config_path, with_secrets=False)
    _known_accounts(config_path, {one.id for one in config.accounts}, [account] if account else [])
    from recon.run.unowned import Said, assign_orders

    what = Said(bot, who, user, datetime.now(UTC), said(reason, "--reason"))
    fills = assign_orders(config, orders, what, account=account, patience_s=wait_s, note=note)
    if is_json:
        print_json({"schema": 1, "assigned": fills})
    else:
        from recon.report.terminal import print_unowned

        print_unowned(fills)
        echo(f"assigned to {bot or 'nobody'}: the next run applies it", err=True)
    return ExitCode.AGREED


COMMANDS = (unowned, assign)


def _known_accounts(path: Path, known: set[str], named: tuple[str, ...] | list[str]) -> None:
    if strange := [name for name in named if name not in known]:
        raise UsageError(
            f"--account {strange[0]}: there is no such account in {path}: "
            f"use one of {', '.join(sorted(known))}"
        )
