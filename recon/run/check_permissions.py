"""Find files of the configuration, the mappings and the state that other users can write to.

Secrets are checked where they are read: a secret file that others can read is refused.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from recon.bot_databases.mappings import files_of, folders_of
from recon.config.settings import Config
from recon.core.records import CheckItem
from recon.errors import ConfigError
from recon.system.permissions import Writable, writable_by_others
from recon.system.state_folder import OURS

SUBJECT = "permissions"


def check_permissions(config: Config) -> list[CheckItem]:
    """Return each file or folder that others can write to; one item where there is none."""
    found: dict[Path, CheckItem] = {}
    for what, path in _what_counts(config):
        if item := _item(what, path, found):
            found.setdefault(*item)
    detail = "nobody else can write to the configuration, the mappings or the state"
    return list(found.values()) or [CheckItem(SUBJECT, detail, is_ok=True)]


def _what_counts(config: Config) -> Iterator[tuple[str, Path]]:
    yield "the configuration", config.path
    yield "the state", config.state
    yield from (("the state", path) for path in _inside(config.state))
    for name in sorted({bot.mapping for bot in config.bots}):
        with suppress(ConfigError):  # the check of the bot names it
            for folder in folders_of(name, config.folder):
                what = f"the mapping {folder.name}"
                yield what, folder
                yield from ((what, path) for path in files_of(folder))


def _inside(state: Path) -> Iterable[Path]:
    """Return the files in the state folder, or none if others cannot enter it."""
    with suppress(OSError):
        if state.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
            return [path for pattern in OURS for path in sorted(state.glob(pattern))]
    return []


def _item(what: str, path: Path, known: Iterable[Path]) -> tuple[Path, CheckItem] | None:
    try:
        found: Writable | None = writable_by_others(path)
    except OSError as error:
        remedy = f"let this user reach {path}"
        return path, CheckItem(SUBJECT, f"{what}: {path}: {error.strerror}", remedy)
    if found is None or found.path in known:
        return None
    return found.path, CheckItem(SUBJECT, f"{what}: {found.reason}", f"run  {found.remedy}")
