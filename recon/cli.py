"""The command line. Each command reads the configuration, calls one function and prints.

Only click is imported here. A command imports the modules that it needs when it is called, so that
`--help` and a mistake in the configuration are answered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from recon import __version__
from recon.commands import breaks, orders, pages, restore, run, watch
from recon.commands.mapping import mapping
from recon.commands.options import (
    config_option,
    json_option,
    load_config,
    log,
    print_json,
    read_date,
    verbose_option,
    wait_option,
)
from recon.commands.schedule import schedule
from recon.commands.schema import schema
from recon.errors import ExitCode, Interrupted, ReconError, exit_status
from recon.system.output import echo, echo_usage, traceback_text

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 96}


@click.group(context_settings=CONTEXT)
@config_option
@json_option
@verbose_option
@click.version_option(__version__, prog_name="recon")
def cli(**_: object) -> None:
    """Is what the bots say they earned true?

    Compare the PnL in each bot's database with the broker's fills, ledger and statements, net of
    fees and funding.

    --config, --json and -v may stand before or after the command's name. Where both are given,
    the one after the name counts.

    \b
    Exit codes: 0 agreed, 1 a bot diverged, 2 usage or configuration, 3 unproven,
    70 a bug, 75 another run holds the lock, 129, 130 and 143 interrupted.
    """  # noqa: D301 - click wants the character itself


@cli.command()
@click.argument("bot")
@config_option
@click.option(
    "--as-of",
    metavar="DATE",
    help="The session to explain, YYYY-MM-DD [default: the last one that has ended].",
)
@click.option(
    "--trade",
    metavar="ID",
    help="Show this trade of the bot [default: the trades with the largest divergence].",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every cause of every trade to this CSV file.",
)
@wait_option
@json_option
@verbose_option
def explain(
    bot: str,
    config_path: Path,
    as_of: str | None,
    trade: str | None,
    csv_path: Path | None,
    wait_s: float,
    is_json: bool,
    verbosity: int,
) -> int:
    """Explain the divergence of BOT: its causes, then the worst trades beside their fills.

    It reads what earlier runs stored. It asks no venue and changes nothing. It exits as `recon run`
    does, for this bot.
    """
    log(verbosity)
    session = None if as_of is None else read_date(as_of)
    config = load_config(config_path, with_secrets=False)
    from recon.core.tolerance import EXIT_CODES
    from recon.run.explain import explain as explained
    from recon.run.explain import write_evidence
    from recon.run.nightly import Night
    from recon.system.progress import PlainLines

    night = Night(config, as_of=session, lock_patience_s=wait_s, progress=PlainLines())
    explanation = explained(night, bot, trade)
    if csv_path is not None:
        write_evidence(csv_path, explanation)
        echo(f"evidence: {csv_path}", err=True)
    if is_json:
        print_json(explanation)
    else:
        from recon.report.waterfall import print_explanation

        print_explanation(explanation)
    return EXIT_CODES[explanation["status"]]


@cli.command()
@config_option
@json_option
@verbose_option
def check(config_path: Path, is_json: bool, verbosity: int) -> int:
    """Try everything that `recon run` and `recon watch` need, and name the remedy of each failure.

    It sends no page and no ping, and leaves nothing in the state folder. It exits 0, or 3 if a
    check fails.
    """
    log(verbosity)
    config = load_config(config_path)
    from recon.run.check import check_everything

    items = check_everything(config)
    if is_json:
        print_json(
            {
                "schema": 1,
                "ok": all(item.is_ok for item in items),
                "checks": [
                    {
                        "subject": item.subject,
                        "ok": item.is_ok,
                        "detail": item.detail,
                        "remedy": item.remedy,
                        "notes": list(item.notes),
                    }
                    for item in items
                ],
            }
        )
    else:
        from recon.report.terminal import print_checks

        is_usual = config_path == Path("recon.toml")
        print_checks(items, options="" if is_usual else f" --config {config_path}")
    return ExitCode.AGREED if all(item.is_ok for item in items) else ExitCode.UNPROVEN


@cli.command()
@config_option
@click.option(
    "--since",
    metavar="DATE",
    help="The first date to read, YYYY-MM-DD [default: the account's `since`].",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="ID",
    help="Read only this account; may be repeated.",
)
@json_option
@verbose_option
def backfill(
    config_path: Path,
    since: str | None,
    accounts: tuple[str, ...],
    is_json: bool,
    verbosity: int,
) -> int:
    """Fetch the history of accounts in pieces, and continue where the last backfill stopped.

    The next `recon run` computes the numbers again. For a history that begins before the `since` of
    an account, change `since` as well. It exits 0, or 3 if a piece cannot be fetched.
    """
    log(verbosity)
    day = None if since is None else read_date(since, "--since")
    config = load_config(config_path)
    from dataclasses import asdict

    from recon.fetch.backfill import backfill as fill
    from recon.system.progress import progress

    with progress() as shown:
        done = fill(
            config, since=day, accounts=accounts, now=lambda: datetime.now(UTC), progress=shown
        )
        filled = [asdict(one) for one in done]
    if is_json:
        print_json({"schema": 1, "accounts": filled})
    else:
        from recon.report.terminal import print_filled

        print_filled(filled)
    return ExitCode.UNPROVEN if any(one["problems"] for one in filled) else ExitCode.AGREED


@cli.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("recon-demo"),
    show_default=True,
    help="The folder of the demo. It is replaced each time.",
)
@json_option
@verbose_option
def demo(folder: Path, is_json: bool, verbosity: int) -> int:
    """Run recon for four bots against venues on 127.0.0.1, without any configuration.

    It exits 0 if the result is the planted one.
    """
    log(verbosity)
    from recon.demo.story.play import play

    return play(folder, is_json=is_json)


for command in (
    run.run,
    *breaks.COMMANDS,
    *orders.COMMANDS,
    *pages.COMMANDS,
    mapping,
    restore.restore,
    schedule,
    schema,
    watch.watch,
):
    cli.add_command(command)


def run_cli(arguments: Sequence[str]) -> int:
    """Run one command and print any error; return the exit status."""
    try:
        result = cli.main(args=list(arguments), prog_name="recon", standalone_mode=False)
    except click.ClickException as error:
        echo_usage(error)
        return ExitCode.USAGE
    except click.Abort as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # click turns an interrupt into an Abort
            return _ended(error.__cause__)
        echo("aborted", err=True)
        return ExitCode.USAGE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort
        return _ended(error)
    return result if isinstance(result, int) else 0


def _ended(error: BaseException) -> int:
    """Print the error that ended a command; return the exit status. An unknown error is a bug."""
    from recon.system.disk import shortage

    if isinstance(error, ReconError | Interrupted):
        echo(f"recon: {error}", err=True)
    elif isinstance(error, KeyboardInterrupt):
        echo("recon: interrupted", err=True)
    elif (found := shortage(error, Path.cwd())) is not None:
        echo(f"recon: {found}", err=True)
        return ExitCode.UNPROVEN
    else:
        echo("recon: a bug; nothing of this run was kept. Please report this:", err=True)
        echo(traceback_text(error), err=True)
    return exit_status(error)
