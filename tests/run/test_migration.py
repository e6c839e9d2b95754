"""A state folder of version 1, made by the last release of version 1, becomes one of version 2.

The folder is `tests/support/data/state_version_1.tar.xz`: two sessions of the account that
`tests/support/fleet.py` builds, an acknowledged break, a sign-off and an incident.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recon.commands.options import load_config
from recon.control import version_1
from recon.control.ledger import CONTROL, Ledger
from recon.errors import ConfigError, LockedError
from recon.report.schema import Document
from recon.run.backup import restore
from recon.run.migration import SET_ASIDE, migrate
from recon.run.nightly import Night, read_back, run_night
from recon.system.state_folder import locked_state
from tests.support.fleet import (
    BTC,
    ETH,
    OPENING,
    QUICK,
    Desk,
    Trader,
    account,
    round_trips,
    serving,
    write_folder,
)

FIXTURE = Path(__file__).resolve().parents[1] / "support" / "data" / "state_version_1.tar.xz"
AS_OF = date(2026, 5, 15)
NEXT_NIGHT = datetime(2026, 5, 16, 2, tzinfo=UTC)
BREAK = "69625d1c665c"
"""The break of btc's window, as version 1 called it; it is acknowledged."""
BOTS = tuple(
    Trader(
        id=name,
        instruments=(instrument,),
        claims=[(OPENING + timedelta(hours=12 * trip + 5), pnl) for trip in range(first, 12, 2)],
    )
    for name, instrument, first, pnl in (("btc", BTC, 0, "61.25"), ("eth", ETH, 1, "1.5"))
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def a_night(folder: Path) -> dict[str, Any]:
    """Reconcile the session after those of the fixture."""
    book = account(NEXT_NIGHT)
    round_trips(book, 12)
    with serving(book) as server:
        path = write_folder(folder, [(Desk(), server)], BOTS, "")
        config = load_config(path)
        return run_night(
            Night(config, as_of=AS_OF, now=lambda: NEXT_NIGHT, patience=QUICK, is_paging=False)
        )


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a document, without the bots' statuses: a sign-off changes them."""
    return {
        "accounts": document["accounts"],
        "bots": [one | {"signed_off": None, "status": None} for one in document["bots"]],
        "restatements": document["restatements"],
    }


def test_the_next_night_goes_on_with_what_version_1_left(folder: Path, tmp_path: Path) -> None:
    document = a_night(folder)
    (tmp_path / "afresh").mkdir()
    afresh = a_night(tmp_path / "afresh")
    assert document["restatements"] == []
    assert figures(document) == figures(afresh)
    breaks = {one["break"]: one for one in document["breaks"]}
    assert (breaks[BREAK]["status"], breaks[BREAK]["kind"]) == ("acknowledged", "window")
    assert breaks[BREAK]["first_seen"] == "2026-05-13"
    assert breaks[BREAK]["last_action"]["by"] == "operator"
    [eth] = [one for one in document["bots"] if one["bot"] == "eth"]
    assert (eth["status"], eth["signed_off"]["beyond"]) == ("agreed", "0")
    with Ledger(folder / "state" / CONTROL) as control:
        audit, disagreements = control.audit()
        assert (audit.altered, disagreements) == (None, [])
        assert [one["kind"] for one in control.watched_incidents()] == ["regressed"]


def test_what_version_1_reported_is_read_with_the_keys_of_version_2(folder: Path) -> None:
    state = folder / "state"
    migrate(state)
    assert (state / SET_ASIDE / version_1.FILE).exists()
    assert not (state / version_1.FILE).exists()
    config = folder / "recon.toml"
    text = config.read_text().replace("books =", "database =")
    config.write_text(text.replace('recognises = "close"', 'costs_booked = "at_close"'))
    for name in ("api_key", "api_secret", "passphrase"):
        (folder / f"okx.{name}").write_text("any")
        (folder / f"okx.{name}").chmod(0o600)
    loaded = load_config(config)
    document = read_back(loaded, date(2026, 5, 14), NEXT_NIGHT, [])
    Document.model_validate(document)
    assert {one["bot"]: one["window"]["claimed"] for one in document["bots"]} == {
        "btc": "367.50",
        "eth": "9.00",
    }


def test_an_old_key_is_an_error_that_names_the_new_one(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(folder / "recon.toml", with_secrets=False)
    for words in ("bots.btc.books", "write database", 'write costs_booked = "at_close"'):
        assert words in str(caught.value)


def _killed_before_the_control_database(state: Path) -> None:
    (state / "warehouse.duckdb").chmod(0o600)
    from recon.warehouse.database import Warehouse

    with Warehouse(state / "warehouse.duckdb"):
        pass


def _killed_in_the_draft(state: Path) -> None:
    (state / f"{CONTROL}.new").write_bytes(b"half a file")


def _killed_before_the_old_file_was_set_aside(state: Path) -> None:
    kept = state.with_name("kept")
    shutil.copy(state / version_1.FILE, kept)
    migrate(state)
    kept.replace(state / version_1.FILE)


@pytest.mark.parametrize(
    "killed",
    [
        _killed_before_the_control_database,
        _killed_in_the_draft,
        _killed_before_the_old_file_was_set_aside,
    ],
)
def test_a_migration_that_was_killed_goes_on(folder: Path, killed: Callable[[Path], None]) -> None:
    state = folder / "state"
    killed(state)
    migrate(state)
    migrate(state)
    assert sorted(path.name for path in state.glob("*.sqlite*")) == [CONTROL]
    with closing(duckdb.connect(str(state / "warehouse.duckdb"), read_only=True)) as db:
        schemas = {name for (name,) in db.sql("select schema_name from duckdb_tables()").fetchall()}
    assert {"raw", "reports", "bot_trades"} <= schemas
    assert not schemas & {"told", "known", "earlier", "books", "touched", "changes"}


@pytest.mark.parametrize("has_control", [True, False])
def test_a_backup_of_version_1_is_put_back(folder: Path, has_control: bool) -> None:
    state = folder / "state"
    with closing(sqlite3.connect(state / version_1.FILE)) as db:
        [rows, sha256] = db.execute(
            "select rows, sha256 from manifests order by manifest desc limit 1"
        ).fetchone()
        [run] = db.execute("select run from runs order by rowid desc limit 1").fetchone()
    backup = state / "backups" / f"2026-05-14-{run}"
    backup.mkdir(parents=True)
    for name in ("warehouse.duckdb", version_1.FILE):
        shutil.copy(state / name, backup / name)
    said = {
        "as_of": "2026-05-14",
        "run": run,
        "at": NEXT_NIGHT.isoformat(),
        "rows": json.loads(rows),
        "sha256": sha256,
        "files": {
            name: hashlib.sha256((backup / name).read_bytes()).hexdigest()
            for name in ("warehouse.duckdb", version_1.FILE)
        },
    }
    (backup / "manifest.json").write_text(json.dumps(said))
    migrate(state)
    if not has_control:
        (state / CONTROL).unlink()
    restored = restore(state, who="operator", user="ops", now=lambda: NEXT_NIGHT)
    assert restored.files == ("warehouse.duckdb", *(() if has_control else (CONTROL,)))
    document = a_night(folder)
    assert document["restatements"] == []
    assert {one["break"] for one in document["breaks"]} >= {BREAK}


def test_a_run_of_version_1_that_is_under_way_is_left_alone(folder: Path) -> None:
    state = folder / "state"
    with locked_state(state), pytest.raises(LockedError):
        migrate(state)
    assert (state / version_1.FILE).exists()


def test_a_document_has_the_types_of_its_schema(folder: Path) -> None:
    document = a_night(folder)
    assert Document.model_validate(document).as_json() == json.loads(json.dumps(document))
