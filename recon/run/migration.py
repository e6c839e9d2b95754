"""Migrate a state folder of version 1 to version 2, before anything else opens it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from recon.control import version_1
from recon.control.database import open_control
from recon.control.ledger import CONTROL
from recon.errors import closing
from recon.system.state_folder import draft_of, locked_state, storing, sync_folder
from recon.warehouse.commit import WAREHOUSE
from recon.warehouse.database import Warehouse

SET_ASIDE = "set-aside/version-1"
"""Where the control database of version 1 is kept."""


def migrate(state: Path) -> None:
    """Migrate a state folder of version 1 to version 2; leave any other as it is.

    If a call is killed, the next one continues. Raises LockedError during a run of version 1, and
    StateError.
    """
    old = state / version_1.FILE
    if not old.exists():
        return
    with storing(state), locked_state(state):
        if (state / WAREHOUSE).exists():
            with Warehouse(state / WAREHOUSE) as warehouse:
                warehouse.checkpoint()
        if not (state / CONTROL).exists():
            _migrate_control(old, state / CONTROL)
        aside = state / SET_ASIDE
        aside.mkdir(parents=True, exist_ok=True)
        for path in sorted(
            state.glob(f"{version_1.FILE}*"), reverse=True
        ):  # the database file last
            path.replace(aside / path.name)
        sync_folder(aside)
        sync_folder(state)


def _migrate_control(old: Path, new: Path) -> None:
    with draft_of(new) as draft:
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(old)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
        with closing(open_control(draft)) as database:
            database.execute("pragma wal_checkpoint(truncate)")
            database.execute("pragma journal_mode = delete")
        draft.replace(new)
        sync_folder(new.parent)
