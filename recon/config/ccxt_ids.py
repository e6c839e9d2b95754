"""Which exchanges ccxt knows, by their ids, without loading it: that takes seconds."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def exchange_ids() -> frozenset[str]:
    """Return the ids of all exchanges: each is a module of ccxt's."""
    found = find_spec("ccxt")
    folders = found.submodule_search_locations if found is not None else None
    names = {
        path.stem for folder in folders or () for path in (Path(folder) / "abstract").glob("*.py")
    }
    return frozenset(name for name in names if not name.startswith("_"))


def close_matches(written: str) -> list[str]:
    """Return the ids that may have been meant, the closest first."""
    return get_close_matches(written.lower(), sorted(exchange_ids()), n=3)
