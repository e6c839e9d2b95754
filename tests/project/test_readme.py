"""The documentation, run: its commands are typed, in a copy of the checkout.

Blocks tagged `sh` of the README and of docs/ are one shell session, in the order of SESSION. A
block tagged with a language and a path is written to that path when its turn comes. Blocks tagged
`text` are for reading, and blocks of TOML without a path are fragments, checked against the
configuration's own model.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from docs._generate.demo_picture import picture
from docs._generate.reference import expand
from recon.config.settings import load
from recon.demo.venues.background import in_background
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_server import OkxServer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
SESSION = (
    "README.md",
    "docs/trader/divergences.md",
    "docs/reference/cli.md",
    "docs/on-call/breaks.md",
    "docs/on-call/heartbeats.md",
    "docs/on-call/pages.md",
    "docs/server/schedule.md",
    "docs/data/published.md",
    "docs/server/backups.md",
    "docs/data/document.md",
)
"""The pages whose commands are typed, one after the other."""
VAULT = "desk/databases/btc-trend.sqlite"
SAID_BY_THE_README = ("100.00", "90.85")
"""What the README's bot claims, and what is true of it."""


class Fence(NamedTuple):
    """One fenced block: its language, the path behind it where there is one, and its text."""

    language: str
    path: str
    text: str


def fences(page: str) -> list[Fence]:
    found = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Fence(*parts) for parts in found]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


TOML = [fence.text for page in PAGES for fence in fences(text_of(page)) if fence.language == "toml"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a copy of the checkout, with a .venv as `make setup` leaves it."""
    copy = tmp_path / "checkout"
    kept_out = shutil.ignore_patterns(".*", "recon-demo", "desk", "build", "dist")
    shutil.copytree(ROOT, copy, ignore=kept_out)
    binaries = copy / ".venv" / "bin"
    binaries.mkdir(parents=True)
    python = shlex.quote(sys.executable)
    set_up = f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(copy))}\n"
    _program(binaries / "python", f'{set_up}exec {python} "$@"\n')
    _program(binaries / "recon", f'{set_up}exec {python} -m recon "$@"\n')
    # make is not run from here, as `make test` runs us: its targets must exist, and the demo's
    # own command is run.
    make = shutil.which("make")
    (tmp_path / "bin").mkdir()
    _program(
        tmp_path / "bin" / "make",
        f'#!/bin/sh\n{make} --dry-run "$@" >/dev/null || exit\n'
        '[ "$1" != demo ] || exec .venv/bin/recon demo\n',
    )
    return copy


@pytest.fixture
def venue() -> Iterator[OkxServer]:
    """Give an OKX whose account traded yesterday as the README tells it."""
    yesterday = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), time(), UTC)
    account = OkxAccount()
    account.deposit("USDT", "10000", yesterday - timedelta(days=2))
    account.trade("BTC-USDT-SWAP", "buy", "10", "60000", yesterday + timedelta(hours=10))
    account.funding("BTC-USDT-SWAP", yesterday + timedelta(hours=11), amount="-3.10")
    account.trade("BTC-USDT-SWAP", "sell", "10", "61000", yesterday + timedelta(hours=12))
    with in_background(OkxServer(account, demo=False)) as server:
        yield server
    assert server.violations == []


class Channel:
    """A place where pages go: a web server on 127.0.0.1 that keeps what it was sent."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/page"

    @contextmanager
    def open(self) -> Iterator[Channel]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel().open() as opened:
        yield opened


@pytest.fixture
def desk(checkout: Path, venue: OkxServer, channel: Channel) -> tuple[Path, dict[str, str]]:
    """Give the folder and the environment in which a newcomer types."""
    return checkout, {
        "PATH": f"{checkout.parent / 'bin'}:{os.environ['PATH']}",
        "HOME": str(checkout.parent),
        "LANG": "C.UTF-8",
        "OKX_KEY": venue.api_key,
        "OKX_SECRET": venue.secret,
        "OKX_PASSPHRASE": venue.passphrase,
        "RECON_PAGE_URL": channel.url,
    }


def test_every_page_with_commands_is_in_the_session() -> None:
    typed = {page for page in PAGES if any(f.language == "sh" for f in fences(text_of(page)))}
    assert typed == set(SESSION)


@pytest.mark.timeout(660)
def test_every_command_of_the_documentation_does_what_it_says(
    desk: tuple[Path, dict[str, str]], venue: OkxServer, channel: Channel
) -> None:
    checkout, environment = desk
    _write_vault(checkout.parent / "vault.sqlite", profit="100.0")
    session = _session(checkout, venue)

    done = _bash(session, checkout, environment)

    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    for row in _sample_rows():
        assert row in [line.split() for line in done.stdout.splitlines()], said
    assert done.stdout.splitlines().count("exit status 1") == 7, said
    assert done.stdout.splitlines()[-1] == "diverged"
    assert "FAIL" not in done.stdout, said
    assert "btc-quantum" in picture(done.stdout), "the demo's output has a picture"
    titles = [page["title"] for page in channel.pages]
    assert [title.partition(": ")[2] for title in titles] == [
        "DIVERGED btc-trend",
        "nothing is wrong",
    ]
    assert "claimed 100.00 USDT, broker net 90.85" in channel.pages[0]["message"]
    assert len(list((checkout / "desk" / "state").glob("backups/*/warehouse.duckdb"))) == 1
    assert len(list((checkout / "desk" / "state").glob("set-aside/*/warehouse.duckdb"))) == 1

    # Once the bot books what it paid, it agrees: nobody is paged, and what was paged is over.
    _write_vault(checkout / VAULT, profit="90.85")
    agreed = _recon(checkout, environment, "run")
    assert (agreed.returncode, len(channel.pages)) == (0, 3), agreed.stderr
    assert channel.pages[2]["action"] == "resolve"
    assert channel.pages[2]["key"] == channel.pages[0]["key"]


def test_every_key_and_column_of_what_is_published_is_documented(
    desk: tuple[Path, dict[str, str]], venue: OkxServer
) -> None:
    checkout, environment = desk
    _lay_out(checkout, venue)

    done = _recon(checkout, environment, "run", "--json", "--no-page")

    document = json.loads(done.stdout)
    words = set(re.findall(r"[a-z_]+", text_of("docs/data/document.md")))
    assert sorted(key for key in _keys(document) if key not in words) == []
    assert document["bots"][0]["window"]["claimed"] == SAID_BY_THE_README[0]
    assert document["bots"][0]["window"]["broker"]["net"] == SAID_BY_THE_README[1]
    published = str(checkout / "desk" / "state" / "published.duckdb")
    with duckdb.connect(published, read_only=True) as database:
        columns = database.execute(
            "select column_name from duckdb_columns() where not internal"
        ).fetchall()
    named = set(re.findall(r"`(\w+)`", text_of("docs/data/published.md")))
    assert {column for (column,) in columns} - named == set()


def test_a_second_run_finds_the_first_ones_lock(
    desk: tuple[Path, dict[str, str]], venue: OkxServer
) -> None:
    checkout, environment = desk
    _lay_out(checkout, venue)
    (checkout / "desk" / "state").mkdir()
    command = "flock state/lock recon run --no-page --wait 1"
    path = f"export PATH={shlex.quote(str(checkout / '.venv' / 'bin'))}:$PATH; cd desk; "

    done = _bash(path + command, checkout, environment)

    assert done.returncode == 75
    assert "another run holds" in done.stderr


@pytest.mark.parametrize("fragment", TOML)
def test_every_piece_of_configuration_is_one(
    fragment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = [f.text for f in fences(README) if f.path.endswith("recon.toml")]
    for name in re.findall(r'env = "(\w+)"', whole + fragment):
        monkeypatch.setenv(name, "secret")
    path = tmp_path / "recon.toml"
    is_whole = "[recon]" in fragment
    path.write_text(fragment if is_whole else f"{whole}\n{fragment}", encoding="utf-8")

    config = load(path)

    named = tomllib.loads(fragment, parse_float=Decimal)
    ids = {entry["id"] for kind in ("accounts", "bots") for entry in named.get(kind, [])}
    assert ids <= {entry.id for entry in (*config.accounts, *config.bots)}
    limits = named.get("recon", {}).get("limits", {})
    assert limits.items() <= asdict(config.recon.limits).items()
    assert ids or limits


def test_make_has_the_targets_that_are_named() -> None:
    made = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"^make (\w+)|`make (\w+)`", text_of(page), re.MULTILINE))
        assert {one or other for one, other in named} <= made, page
    assert {"setup", "demo", "test"} <= made


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            linked = (ROOT / page).parent / path if path else ROOT / page
            assert linked.exists(), target
            assert not anchor or anchor in _anchors(linked.read_text(encoding="utf-8")), target


def _anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, those of generated parts included."""
    prose = re.sub(r"```.*?```", "", expand(page), flags=re.DOTALL)
    headings = [each.lower() for each in re.findall(r"^#+ (.*)$", prose, re.MULTILINE)]
    plain = {re.sub(r"[^a-z0-9 -]", "", each).replace(" ", "-") for each in headings}
    return plain | {re.sub(r"[^a-z0-9]+", "-", each).strip("-") for each in headings}


def _session(checkout: Path, venue: OkxServer) -> str:
    """Return the blocks of SESSION as a script: commands run, files laid where they belong."""
    prepared = checkout.parent / "prepared"
    prepared.mkdir()
    lines = ["set -euo pipefail", f"root={shlex.quote(str(checkout))}"]
    found = [fence for page in SESSION for fence in fences(text_of(page))]
    for number, fence in enumerate(found):
        if fence.language == "sh":
            lines.append(fence.text)
        elif fence.path:
            (prepared / str(number)).write_text(_here(fence.text, venue), encoding="utf-8")
            lines.append(f'cp {shlex.quote(str(prepared / str(number)))} "$root/{fence.path}"')
        elif fence.language == "sql":
            lines.append(f'cp "$root/../vault.sqlite" "$root/{VAULT}"')
    return "\n".join(lines)


def _here(text: str, venue: OkxServer) -> str:
    """Return the example for this machine's venue, and for a `since` that it still serves."""
    since = datetime.now(UTC).date() - timedelta(days=4)
    text = text.replace('venue = "okx"', f'venue = "okx"\nbase_url = "{venue.url}"')
    return re.sub(r"^since = .*$", f"since = {since}", text, flags=re.MULTILINE)


def _lay_out(checkout: Path, venue: OkxServer) -> None:
    """Write the README's files and its vault, without typing its commands."""
    for fence in fences(README):
        if fence.path:
            path = checkout / fence.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_here(fence.text, venue), encoding="utf-8")
    _write_vault(checkout / VAULT, profit="100.0")


def _write_vault(path: Path, *, profit: str) -> None:
    """Write the vault as the README describes it, with yesterday's one trade."""
    [schema] = [f.text for f in fences(README) if f.language == "sql" and not f.path]
    day = datetime.now(UTC).date() - timedelta(days=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as vault:
        vault.execute(schema)
        vault.execute(
            "insert into closed_trades values (1, 'BTC-USDT-SWAP', 'long', 10, ?, ?, ?, ?, ?)",
            (f"{day}T10:00:00Z", f"{day}T12:00:00Z", 60000.0, 61000.0, float(profit)),
        )
        vault.commit()


def _sample_rows() -> list[list[str]]:
    """Return the rows of the table that the README shows, word by word."""
    [sample] = [f.text for f in fences(README) if "claimed" in f.text and f.language == "text"]
    rows = [line.split() for line in sample.splitlines()]
    return [row for row in rows if row and row[0] in {"btc-trend", "diverged"}]


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_keys(item) for item in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(_keys(item) for item in value))
    return set()


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def _bash(
    script: str, folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _recon(
    checkout: Path, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    command = shlex.join([str(checkout / ".venv" / "bin" / "recon"), *arguments])
    return _bash(command, checkout / "desk", environment)
