"""Open the warehouse for commands that only read, if possible without waiting for a run.

If no run holds the state's lock, the command holds it while it reads or copies. If a run holds it,
the command reads the last backup, provided that it has the last commit. Otherwise the command waits
and names the process that it waits for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from recon.control.ledger import Ledger
from recon.errors import LockedError, afterwards
from recon.run.backup import backups
from recon.system.state_folder import Note, copy_file, locked_state, storing
from recon.warehouse.commit import BACKUPS, WAREHOUSE, known_ledger
from recon.warehouse.database import Warehouse

PATIENCE_S = 60.0
"""How long a command that only reads waits for a run by default."""


@contextmanager
def reading(
    state: Path, *, patience_s: float = PATIENCE_S, note: Note | None = None
) -> Iterator[tuple[Warehouse, Ledger]]:
    """Open the warehouse for reading, and the control database. Raises LockedError, StateError."""
    with (
        storing(state),
        known_ledger(state) as ledger,
        _at_rest(state, ledger, patience_s, note) as folder,
        Warehouse(folder / WAREHOUSE, is_read_only=True) as warehouse,
    ):
        yield warehouse, ledger


@contextmanager
def copied(
    state: Path, ledger: Ledger, *, patience_s: float = PATIENCE_S, note: Note | None = None
) -> Iterator[Path]:
    """Yield a folder with a copy of the warehouse, deleted afterwards. Nothing stays locked.

    Without a warehouse the folder is empty. Raises LockedError; OSError if the disk is full.
    """
    with ExitStack() as until_copied:
        source = until_copied.enter_context(_at_rest(state, ledger, patience_s, note))
        folder = TemporaryDirectory(prefix="explain-", dir=state / "scratch")
        with afterwards(folder.cleanup):
            copy = Path(folder.name)
            for path in source.glob(f"{WAREHOUSE}*"):  # with the log of a killed run
                if path.is_file():
                    copy_file(path, copy / path.name)
            until_copied.close()
            yield copy


@contextmanager
def _at_rest(state: Path, ledger: Ledger, patience_s: float, note: Note | None) -> Iterator[Path]:
    """Yield a folder with the last committed warehouse, to which nothing writes meanwhile."""
    with ExitStack() as until_read:
        try:
            until_read.enter_context(locked_state(state))
        except LockedError:
            if (backup := _last_commit(state, ledger)) is not None:
                yield backup
                return
            until_read.enter_context(locked_state(state, patience_s=patience_s, note=note))
        yield state


def _last_commit(state: Path, ledger: Ledger) -> Path | None:
    """Return the backup of the last commit, or None."""
    committed = (each.run for each in ledger.manifests() if each.is_committed)
    run = next(committed, None)
    found = (each["backup"] for each in backups(state) if each["run"] == run)
    return next((state / BACKUPS / name for name in found), None)
