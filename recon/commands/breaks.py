"""Commands of the control database: breaks, ack, resolve, sign-off, audit.

They ask no venue, need no secret and no warehouse, and work during a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    read_date,
    verbose_option,
)
from recon.errors import ExitCode, UsageError
from recon.system.output import echo

if TYPE_CHECKING:
    from recon.config.settings import Config
    from recon.control.assignments import Assignment
    from recon.control.ledger import Ledger

by_option = click.option(
    "--by",
    metavar="NAME",
    help="The person who acts [default: the operating system's user, who is recorded in any case].",
)


@click.command()
@config_option
@click.option("--all/--open", "is_all", help="List all breaks, or only those that stand [default].")
@click.option("--bot", metavar="BOT", help="List only the breaks of this bot.")
@json_option
@verbose_option
def breaks(
    config_path: Path,
    is_all: bool,
    bot: str | None,
    is_json: bool,
    verbosity: int,
) -> int:
    """List the breaks, with the last action on each and the assignments of orders."""
    log(verbosity)
    config = load_config(config_path, with_secrets=False)
    with open_ledger(config) as ledger:
        if bot is not None:
            known = {row["bot"] for row in ledger.breaks(is_all=True)}
            _known_bot(config, bot, "--bot ", known)
        shown = ledger.breaks(bot=bot, is_all=is_all)
        shown = _with_assignments(shown, ledger.assignments())
    return _show_breaks(shown, is_json=is_json)


@click.command()
@click.argument("prefix", metavar="BREAK")
@config_option
@click.option("--note", required=True, metavar="TEXT", help="What is known about it.")
@by_option
@json_option
@verbose_option
def ack(
    config_path: Path,
    prefix: str,
    note: str,
    by: str | None,
    is_json: bool,
    verbosity: int,
) -> int:
    """Acknowledge a break, or every break of a page: it pages again only if it grows worse.

    BREAK is the id of a break or the key of a page, or the beginning of either.
    """
    log(verbosity)
    who, user = signer(by)
    at, known = datetime.now(UTC), said(note, "--note")
    with open_ledger(load_config(config_path, with_secrets=False)) as ledger:
        keys = [each["key"] for each in ledger.incidents(prefix)]
        if not keys or not prefix:
            shown = ledger.acknowledge(prefix, who=who, user=user, note=known, at=at)
            return _show_breaks([shown], is_json=is_json)
        incident = ledger.acknowledge_page(prefix, who=who, user=user, note=known, at=at)
        rows = [row for row in ledger.breaks() if row["break"] in incident["subjects"]]
    echo(f"acknowledged: {incident['key']}  {incident['title']}", err=True)
    return _show_breaks(rows, is_json=is_json)


@click.command()
@click.argument("prefix", metavar="BREAK")
@config_option
@click.option("--reason", required=True, metavar="TEXT", help="How it was resolved.")
@by_option
@json_option
@verbose_option
def resolve(
    config_path: Path,
    prefix: str,
    reason: str,
    by: str | None,
    is_json: bool,
    verbosity: int,
) -> int:
    """Resolve a break: the next run that observes it opens it again.

    BREAK is the id of a break, or the beginning of it.
    """
    log(verbosity)
    who, user = signer(by)
    with open_ledger(load_config(config_path, with_secrets=False)) as ledger:
        shown = ledger.resolve(
            prefix, who=who, user=user, reason=said(reason, "--reason"), at=datetime.now(UTC)
        )
    return _show_breaks([shown], is_json=is_json)


@click.command("sign-off")
@click.argument("bot", metavar="BOT")
@config_option
@click.option(
    "--as-of",
    required=True,
    metavar="DATE",
    help="The session up to which the window counts, YYYY-MM-DD.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Why the divergence may stand.")
@by_option
@json_option
@verbose_option
def sign_off(
    config_path: Path,
    bot: str,
    as_of: str,
    reason: str,
    by: str | None,
    is_json: bool,
    verbosity: int,
) -> int:
    """Sign off the divergence that was reported for BOT as of a session: it no longer counts."""
    log(verbosity)
    session = read_date(as_of)
    who, user = signer(by)
    config = load_config(config_path, with_secrets=False)
    _known_bot(config, bot)
    from recon.control.sign_offs import Signature, signable

    now = datetime.now(UTC)
    signature = Signature(who, user, said(reason, "--reason"), now)
    [account] = [each.account for each in config.bots if each.id == bot]
    with open_ledger(config) as ledger:
        document = ledger.told(session, now, [account])
        if document is None:
            raise UsageError(
                f"--as-of {session}: no run has reported that session of {account} yet: "
                f"run  recon run --as-of {session}  and sign off the divergence that it reports"
            )
        difference = signable(document, bot)
        signers = ledger.sign_off(bot, difference, signature)
    needed = config.recon.sign_off_by
    done = {
        "bot": bot,
        **difference,
        "signers": signers,
        "needed": needed,
        "counts": len(signers) >= needed,
    }
    if is_json:
        print_json({"schema": 1, "sign_off": done})
    else:
        waits = "" if done["counts"] else "; it counts once another person has signed it off"
        echo(
            f"{bot}: {difference['amount']} as of {difference['as_of']} signed off by "
            f"{', '.join(signers)}{waits}"
        )
    return ExitCode.AGREED


@click.command()
@config_option
@click.option(
    "--head",
    metavar="HASH",
    help="A head of the journal that was kept elsewhere. The journal must contain it.",
)
@json_option
@verbose_option
def audit(config_path: Path, head: str | None, is_json: bool, verbosity: int) -> int:
    """Verify the hashes of the journal: exit 0, or 3 if the journal was altered."""
    log(verbosity)
    with open_ledger(load_config(config_path, with_secrets=False)) as ledger:
        found, disagreements = ledger.audit(head)
    problems = [*([found.reason] if found.reason else []), *disagreements]
    shown = {
        "ok": not problems,
        **found.end._asdict(),
        "altered": found.altered,
        "problems": problems,
    }
    if is_json:
        print_json({"schema": 1, **shown})
    else:
        from recon.report.terminal import print_audit

        print_audit(shown)
    return ExitCode.UNPROVEN if problems else ExitCode.AGREED


COMMANDS = (breaks, ack, resolve, sign_off, audit)


@contextmanager
def open_ledger(config: Config) -> Iterator[Ledger]:
    """Open the control database that earlier runs have written.

    Raises UsageError if there is none, StateError for a file that SQLite cannot use.
    """
    from recon.control.ledger import CONTROL, Ledger
    from recon.system.state_folder import storing

    path = config.state / CONTROL
    if not path.exists():
        raise UsageError(f"{path}: there is no control database yet: `recon run` creates it")
    with storing(config.state), Ledger(path) as ledger:
        yield ledger


def signer(by: str | None) -> tuple[str, str]:
    """Return the person who acts, and the user of this machine. Raises UsageError for no name."""
    import os

    from recon.system.permissions import user_name

    user = user_name(os.getuid())
    return (user if by is None else said(by, "--by")), user


def said(text: str, option: str) -> str:
    """Return an option's text, stripped. Raises UsageError if nothing is left."""
    if not text.strip():
        raise UsageError(f"{option} is empty: write a text")
    return text.strip()


def _known_bot(config: Config, bot: str, option: str = "", more: Collection[str] = ()) -> None:
    known = {*more, *(each.id for each in config.bots)}
    if bot not in known:
        raise UsageError(
            f"{option}{bot}: there is no such bot in {config.path}: "
            f"use one of {', '.join(sorted(known))}"
        )


def _with_assignments(
    shown: list[dict[str, Any]], made: Iterable[Assignment]
) -> list[dict[str, Any]]:
    """Return breaks, each with the assignments of orders to its bot that hold."""
    from recon.control.assignments import as_shown, latest

    holding = latest(made).values()
    return [
        row | {"assignments": [as_shown(one) for one in holding if one.bot == row["bot"]]}
        for row in shown
    ]


def _show_breaks(shown: list[dict[str, Any]], *, is_json: bool) -> int:
    if is_json:
        print_json({"schema": 1, "breaks": shown})
    else:
        from recon.report.terminal import print_breaks

        print_breaks(shown)
    return ExitCode.AGREED
