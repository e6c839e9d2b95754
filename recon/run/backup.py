"""Make a verified backup after each nightly run, and restore one for `recon restore`.

A backup is a folder, `backups/SESSION-RUN`, with the warehouse, the control database and
`manifest.json`, which has the warehouse's row counts and each file's hash. It is written beside its
final place and renamed once every block has been read and verified. The latest backup of each of
the last fourteen sessions is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from recon.control import version_1
from recon.control.ledger import CONTROL, Ledger
from recon.control.manifests import Manifest
from recon.core.records import Clock
from recon.core.sql_names import quoted
from recon.errors import StateError, UsageError, closing
from recon.system.disk import REMEDY
from recon.system.state_folder import copy_file, draft_of, locked_state, storing, sync_folder
from recon.warehouse.commit import BACKUPS, WAREHOUSE, manifest
from recon.warehouse.database import Warehouse

KEPT = 14
MANIFEST = "manifest.json"
SET_ASIDE = "set-aside"
DRAFT = ".new"


class Restored(NamedTuple):
    """The result of a restore: the backup's name, the restored files, the old files' folder."""

    backup: str
    files: tuple[str, ...]
    set_aside: Path


def back_up(
    state: Path, document: Mapping[str, Any], now: Clock, *, patience_s: float = 0.0
) -> Path:
    """Back up the state that a run has published; return the folder. Delete surplus old backups.

    Raises StateError if the backup fails or differs from the last commit; LockedError.
    """
    with (
        storing(state),
        locked_state(state, patience_s=patience_s),
        Ledger(state / CONTROL) as ledger,
    ):
        name = f"{document['as_of']}-{document['run']}"
        folder = state / BACKUPS / name
        for left in (state / BACKUPS).glob(f"*{DRAFT}/"):  # left by a killed run
            shutil.rmtree(left)
        draft = folder.with_name(name + DRAFT)
        draft.mkdir(parents=True)
        try:
            held = ledger.last_manifest()
            written = _written(state / WAREHOUSE)
            copy_file(state / WAREHOUSE, draft / WAREHOUSE)
            ledger.copy_to(draft / CONTROL)
            _verify_warehouse(draft / WAREHOUSE, held)
            _verify_control(draft / CONTROL)
            noted = {
                "as_of": document["as_of"],
                "run": document["run"],
                "at": now().isoformat(),
                "rows": dict(held.rows),
                "sha256": held.sha256,
                "files": {each: _hash(draft / each) for each in (WAREHOUSE, CONTROL)},
                "written": written,
            }
            (draft / MANIFEST).write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
            for each in draft.iterdir():
                _sync(each)
            sync_folder(draft)
            draft.rename(folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _prune(state, folder)
        return folder


def assert_unaltered(state: Path, *, patience_s: float = 0.0) -> None:
    """Compare the whole warehouse with its last backup, unless it was written to since.

    Raises StateError if a byte differs: so a disk that alters unread blocks is noticed. Raises
    LockedError.
    """
    path = state / WAREHOUSE
    with storing(state), locked_state(state, patience_s=patience_s):
        there = backups(state)
        if not there or not path.exists():
            return
        noted = _manifest_of(state / BACKUPS / there[0]["backup"])
        if noted.get("written") != _written(path):
            return
        if _hash(path) != noted["files"][WAREHOUSE]:
            raise StateError(
                f"{path} differs from its last backup, although nothing has written to it since: "
                f"the disk has altered it: {REMEDY}"
            )


def backups(state: Path) -> list[dict[str, Any]]:
    """Return every backup, the latest first: its name, session, run, time and size.

    A folder without a complete manifest is not a backup.
    """
    found = []
    for path in (state / BACKUPS).glob(f"*/{MANIFEST}"):
        if path.parent.suffix == DRAFT or (noted := _read_manifest(path)) is None:
            continue
        size = sum(each.stat().st_size for each in path.parent.iterdir())
        found.append(
            {
                "backup": path.parent.name,
                "as_of": noted["as_of"],
                "run": noted["run"],
                "at": noted["at"],
                "bytes": size,
            }
        )
    return sorted(found, key=lambda one: (one["as_of"], one["at"]), reverse=True)


def _read_manifest(path: Path) -> dict[str, Any] | None:
    """Return a backup's manifest, or None if it is unreadable or incomplete."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = {"as_of", "run", "at", "rows", "sha256", "files"}
    return noted if isinstance(noted, dict) and whole <= noted.keys() else None


def _manifest_of(folder: Path) -> dict[str, Any]:
    """Return the manifest of a listed backup. Raises StateError if it has gone."""
    if (noted := _read_manifest(folder / MANIFEST)) is None:
        raise StateError(f"{folder / MANIFEST} cannot be read any more: name another backup")
    return noted


def restore(state: Path, name: str | None = None, *, who: str, user: str, now: Clock) -> Restored:
    """Replace the warehouse with a backup: the one with this name, or the latest.

    The control database, with the actions of persons, is replaced only if it is missing or damaged.
    The old files are set aside and not deleted. Raises UsageError if there is no such backup,
    StateError if the backup is damaged.
    """
    with storing(state), locked_state(state):
        there = [one["backup"] for one in backups(state)]
        if not there:
            raise UsageError(f"there is no backup in {state / BACKUPS}: a nightly run makes one")
        if name is not None and name not in there:
            raise UsageError(f"there is no backup {name!r}: use one of {', '.join(there)}")
        folder = state / BACKUPS / (name or there[0])
        noted = _manifest_of(folder)
        for each, expected in noted["files"].items():
            if _hash(folder / each) != expected:
                raise StateError(
                    f"{folder / each} is damaged: name another backup: {', '.join(there)}"
                )
        sources = {WAREHOUSE: WAREHOUSE, CONTROL: CONTROL}
        if version_1.FILE in noted["files"]:  # both files are migrated when they are opened
            sources[CONTROL] = version_1.FILE
        files = [WAREHOUSE, *([] if is_sound(state / CONTROL) else [CONTROL])]
        with ExitStack() as until_copied:  # copy all files before one is put in place
            drafts = {each: until_copied.enter_context(draft_of(state / each)) for each in files}
            for each, draft in drafts.items():
                copy_file(folder / sources[each], draft)
                _sync(draft)
            (state / SET_ASIDE).mkdir(exist_ok=True)
            aside = Path(mkdtemp(prefix=f"{now():%Y-%m-%dT%H%M%S}-", dir=state / SET_ASIDE))
            for each, draft in drafts.items():
                for old in sorted(state.glob(f"{each}*")):
                    if old != draft:
                        old.rename(aside / old.name)
                draft.rename(state / each)
        sync_folder(state)
        with Ledger(state / CONTROL) as ledger:
            rows = {version_1.TABLES.get(name, name): n for name, n in noted["rows"].items()}
            held = Manifest(rows, noted["sha256"])
            ledger.restored(folder.name, held, who=who, user=user, at=now())
        return Restored(folder.name, tuple(files), aside)


def _verify_warehouse(path: Path, held: Manifest) -> None:
    """Read every block of a copy, and compare it with the last commit. Raises StateError."""
    with Warehouse(path, is_read_only=True) as copy:
        if differences := held.differs(manifest(copy)):
            raise StateError(f"{path} differs from the last commit: {differences[0]}: {REMEDY}")
        for table in copy.rows("select schema_name, table_name from duckdb_tables()"):
            name = f"{quoted(table['schema_name'])}.{quoted(table['table_name'])}"
            copy.rows(f"select bit_xor(hash(whole_row)) from {name} whole_row")


def _verify_control(path: Path) -> None:
    if not is_sound(path):
        raise StateError(
            f"{path} and the control database that it was copied from are damaged: {REMEDY}"
        )


def is_sound(path: Path) -> bool:
    """Return whether a control database exists, has runs, and can be read in full."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            [integrity] = db.execute("pragma integrity_check(1)").fetchone()
            [documents] = db.execute("select count(document) from runs").fetchone()
            return bool(integrity == "ok" and documents)
    except sqlite3.DatabaseError:
        return False


def _prune(state: Path, latest: Path) -> None:
    """Delete every backup but the latest of each of the last fourteen sessions."""
    sessions = {json.loads((latest / MANIFEST).read_text(encoding="utf-8"))["as_of"]}
    for one in backups(state):
        folder = state / BACKUPS / one["backup"]
        is_kept = one["as_of"] not in sessions and len(sessions) < KEPT
        sessions.add(one["as_of"])
        if not is_kept and folder != latest:
            folder.rename(folder.with_suffix(DRAFT))  # a half-deleted backup is never listed
            shutil.rmtree(folder.with_suffix(DRAFT))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(path: Path) -> list[int]:
    """Return a file's time of last change, in ns, and its size. Both change with each write."""
    status = path.stat()
    return [status.st_mtime_ns, status.st_size]


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
