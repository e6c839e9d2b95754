"""The story of btc-quantum, played against loopback venues by the code of a real night.

Only the servers are made up: real ccxt asks them over HTTP, real SQLite vaults are read, real
apprise sends the page, and `run_night` does what it does every night.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from connectors.retry import RetryPolicy
from recon.config.settings import load
from recon.demo.story.btc_quantum import PARTIAL_TRIP
from recon.demo.story.fleet import Fleet, Planted, build_fleet, story_day
from recon.demo.story.folder import Addresses, fill_folder, make_folder
from recon.demo.venues.background import in_background
from recon.demo.venues.channel import Channel, ReceivedPage
from recon.demo.venues.flex_server import FlexServer
from recon.demo.venues.okx_faults import Fault
from recon.demo.venues.okx_server import OkxServer
from recon.errors import ExitCode, ReconError
from recon.report.terminal import print_document
from recon.report.waterfall import print_explanation
from recon.run.explain import explain
from recon.run.nightly import Night, run_night
from recon.system.output import console, echo
from recon.system.progress import progress
from recon.warehouse.commit import PUBLISHED

QUERY_ID = "100200"
PATIENCE = RetryPolicy(
    request_timeout_s=20.0, attempts=30, first_wait_s=0.2, longest_wait_s=1.0, total_s=120.0
)
"""As a night's, but in smaller steps: these venues recover within seconds."""

BEFORE = """\
Four bots, two brokers, forty days, all of it on this machine (127.0.0.1).
  [bold]btc-quantum[/]    keeps its own vault and never subtracts a fee: +1309.00 USDT
  [bold]eth-honest[/]     runs freqtrade, and books what it pays
  [bold]sol-forgetful[/]  runs freqtrade, and books 0.0 of the funding it pays
  [bold]basket[/]         trades stocks; its broker corrected one execution a day later
OKX throttles, and fails twice on the way (502, 50011); IBKR's statement is not
ready at first. Now a night is run, as cron would run it.
"""
LARGEST = str(PARTIAL_TRIP)
"""The trade of btc-quantum's that the end of the story shows."""
AFTER = """
[bold]btc-quantum shows +1309.00 and lost 373.00.[/] Of the 1682.00 between them 1650.00 are
fees that its record_trade() never subtracted, and 32.00 one closing order that
was filled in two parts, at two prices, and booked whole at the first.
[bold]sol-forgetful[/] is off by the funding that it booked as 0.0.
"""


@dataclass(frozen=True, slots=True)
class _Played:
    """What came of the night: its document, the pages as received, and what must not have been."""

    document: Mapping[str, Any]
    pages: Sequence[ReceivedPage]
    violations: Sequence[str]


def play(folder: Path, *, is_json: bool) -> int:
    """Play the story in `folder`, show how it ends, and check that it ends as planted.

    With `is_json` the document alone goes to stdout, and the narration to stderr. Raises UsageError
    for a folder that is somebody else's, ReconError where anything came out otherwise.
    """
    narration = console(err=is_json, highlight=False)
    now = datetime.now(UTC)
    make_folder(folder)
    fleet = build_fleet(story_day(now))
    narration.print(BEFORE, soft_wrap=True)
    played = _play_night(folder, fleet, now)
    if is_json:
        echo(json.dumps(played.document, indent=1, ensure_ascii=False))
    else:
        print_document(played.document, console=narration)
    _check(fleet, played)
    _narrate_end(narration, folder, played, fleet.as_of)
    return ExitCode.AGREED


def _play_night(folder: Path, fleet: Fleet, now: datetime) -> _Played:
    """Start the venues and the channel, run one night against them, and stop them."""
    with ExitStack() as servers:
        okx = servers.enter_context(in_background(_awkward_okx(fleet)))
        flex = servers.enter_context(in_background(_awkward_flex(fleet, now)))
        channel = servers.enter_context(in_background(Channel()))
        secrets = {
            "okx-api-key": okx.api_key,
            "okx-api-secret": okx.secret,
            "okx-passphrase": okx.passphrase,
            "ibkr-flex-token": flex.token,
            "channel-url": channel.url,
        }
        config = fill_folder(folder, fleet, Addresses(okx.url, flex.url, QUERY_ID), secrets)
        with progress() as shown:
            document = run_night(
                Night(load(config), as_of=fleet.as_of, patience=PATIENCE, progress=shown)
            )
        return _Played(document, list(channel.pages), list(okx.violations))


def _awkward_okx(fleet: Fleet) -> OkxServer:
    server = OkxServer(fleet.okx_account(), throttle=1.0)
    server.fault("trade/fills-history", Fault("status_502", after=2))
    server.fault("account/bills-archive", Fault("code_50011", after=1))
    return server


def _awkward_flex(fleet: Fleet, now: datetime) -> FlexServer:
    # Once, not twice: a night waits five to ten seconds before it looks again.
    return FlexServer({QUERY_ID: fleet.flex_statement(now)}, generating=1)


def _check(fleet: Fleet, played: _Played) -> None:
    """Raise ReconError where the story did not come out as planted."""
    wrong = list(_differences(fleet.planted(), played))
    if wrong:
        raise ReconError(
            "the demo did not come out as planted; please report this:\n  " + "\n  ".join(wrong)
        )


def _differences(planted: Mapping[str, Planted], played: _Played) -> Iterator[str]:
    document = played.document
    for account in document["accounts"]:
        if account["status"] != "proven":
            yield f"account {account['account']} is {account['status']}: {account['reasons']}"
    bots = {bot["bot"]: bot for bot in document["bots"]}
    for name, due in planted.items():
        yield from _differences_of(bots[name], due)
    if [page["status"] for page in document["pages"]] != ["delivered"]:
        yield f"the pages are {document['pages']}, and not one that was delivered"
    if [page.title for page in played.pages] != [page["title"] for page in document["pages"]]:
        yield f"the channel received {len(played.pages)} pages, and not the one that was sent"
    for violation in played.violations:
        yield f"OKX was sent what a reader must never send: {violation}"


def _differences_of(bot: Mapping[str, Any], due: Planted) -> Iterator[str]:
    window = bot["window"]
    if bot["status"] != due.status:
        yield f"{bot['bot']} is {bot['status']}, and not {due.status}: {bot['reasons']}"
    figures = {
        "claimed": (window["claimed"], due.claimed),
        "gross": (window["broker"]["gross"], due.gross),
        "fees": (window["broker"]["fees"], due.fees),
        "funding": (window["broker"]["funding"], due.funding),
        "net": (window["broker"]["net"], due.net),
        "divergence": (window["divergence"], due.claimed - due.net),
    }
    for name, (found, wanted) in figures.items():
        if found is None or Decimal(found) != wanted:
            yield f"{bot['bot']}: {name} is {found}, and not {wanted}"
    causes = {row["cause"]: Decimal(row["amount"]) for row in window["causes"]}
    if causes != {**due.causes, "unexplained": Decimal(0)}:
        yield f"{bot['bot']}: its causes are {causes}, and not {due.causes}"


def _narrate_end(narration: Console, folder: Path, played: _Played, as_of: date) -> None:
    page = played.pages[0]
    narration.print(AFTER, soft_wrap=True)
    narration.print(
        Panel(escape(page.message), title=escape(page.title), subtitle="as the channel received it")
    )
    narration.print("[bold]Where everything lies[/]")
    lying = {
        "configuration": folder / "recon.toml",
        "report": folder / "state" / "reports" / f"{as_of}.json",
        "all numbers (DuckDB)": folder / "state" / PUBLISHED,
        "the bots' books": folder / "vaults",
    }
    for what, path in lying.items():
        narration.print(f"  {what:20}{escape(str(path))}", soft_wrap=True)
    narration.print("[bold]What to try next[/]")
    for command in suggested(folder, as_of):
        narration.print(f"  {escape(command)}", soft_wrap=True)
    published = shlex.quote(str(lying["all numbers (DuckDB)"]))
    narration.print("or, with DuckDB's own command line:")
    narration.print(f'  duckdb -readonly {escape(published)} "from sessions"', soft_wrap=True)
    narration.print("\n[bold]Why btc-quantum shows what it shows[/]")
    config = load(folder / "recon.toml")
    print_explanation(explain(Night(config, as_of=as_of), "btc-quantum", LARGEST), narration)


def suggested(folder: Path, as_of: date) -> list[str]:
    """Return commands that work once the venues are gone, on the days that are stored."""
    run = f"{_program()} run --config {shlex.quote(str(folder / 'recon.toml'))}"
    stored = "--no-fetch --no-page"
    config = shlex.quote(str(folder / "recon.toml"))
    return [
        f"{run} --as-of {as_of} {stored}",
        f"{_program()} explain sol-forgetful --config {config} --as-of {as_of}",
        f"{run} --as-of {as_of} {stored} --json",
        f"{run} --as-of {as_of - timedelta(days=7)} {stored}",
    ]


def _program() -> str:
    """Return how this program is called here: by its name, or by its path where PATH lacks it."""
    called = Path(sys.argv[0])
    if shutil.which("recon") is None and called.name == "recon":
        return shlex.quote(os.path.relpath(called))
    return "recon"
