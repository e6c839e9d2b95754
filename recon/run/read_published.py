"""The warehouse for commands that only look: a run under way keeps none of them waiting.

While no run holds the state's lock, such a command holds it for as long as it reads or copies.
While a run holds it, the command reads the last backup, if that holds the last commit. Else the
command waits, and says for whom.
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
"""How long a command that only looks waits for a run, unless it is told otherwise."""


@contextmanager
def reading(
    state: Path, *, patience_s: float = PATIENCE_S, note: Note | None = None
) -> Iterator[tuple[Warehouse, Ledger]]:
    """Open the warehouse to be read, and the ledger. Raises LockedError, StateError."""
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
    """Give a folder with a copy of the warehouse, which goes afterwards. Nothing stays locked.

    Without a warehouse it is empty. Raises LockedError; OSError where there is no space for it.
    """
    with ExitStack() as until_copied:
        source = until_copied.enter_context(_at_rest(state, ledger, patience_s, note))
        folder = TemporaryDirectory(prefix="explain-", dir=state / "scratch")
        with afterwards(folder.cleanup):
            copy = Path(folder.name)
            for path in source.glob(f"{WAREHOUSE}*"):  # with the log that a killed run has left
                if path.is_file():
                    copy_file(path, copy / path.name)
            until_copied.close()
            yield copy


@contextmanager
def _at_rest(state: Path, ledger: Ledger, patience_s: float, note: Note | None) -> Iterator[Path]:
    """Give a folder whose warehouse is what was committed last, and that nobody writes to now."""
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
    """Return the backup of what was committed last, where there is one."""
    committed = (each.run for each in ledger.manifests() if each.is_committed)
    run = next(committed, None)
    found = (each["backup"] for each in backups(state) if each["run"] == run)
    return next((state / BACKUPS / name for name in found), None)
