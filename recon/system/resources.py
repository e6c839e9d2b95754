"""Where the files that ship with the code are."""

from __future__ import annotations

from pathlib import Path

from recon.errors import ReconError

_PACKAGE = Path(__file__).resolve().parents[1]


def sql_root() -> Path:
    """Return the folder of the queries: `recon/sql` where installed, `sql` beside it in a checkout.

    Raises ReconError if the installation has neither.
    """
    for folder in (_PACKAGE / "sql", _PACKAGE.parent / "sql"):
        if (folder / "macros.sql").is_file():
            return folder
    raise ReconError(f"the queries are missing beside {_PACKAGE}: install recon again")
