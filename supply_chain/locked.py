"""The locked packages: names, versions and hashes out of the locks, and their licences.

requirements.txt has what a user installs, requirements-test.txt what the tests add to that.
`python -m supply_chain.locked` exits 1 where pyproject.toml and the locks do not fit together.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, NamedTuple

from license_expression import ExpressionError, Licensing, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK, TEST_LOCK = ROOT / "requirements.txt", ROOT / "requirements-test.txt"
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))? --hash")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Locked(NamedTuple):
    """A locked package. `marker` says where it is installed; empty: everywhere."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def locked(lock: Path = LOCK) -> Iterator[Locked]:
    """Yield the packages of a lock, in its order. Raises ValueError for any other line."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        found = _LINE.match(re.sub(r"\s+", " ", line))
        if found is None:
            raise ValueError(f"{lock.name}: {line[:80]}: not a package with its version and hashes")
        name = canonicalize_name(found["name"])
        yield Locked(name, found["version"], found["marker"] or "", tuple(_HASH.findall(line)))


def problems(root: Path = ROOT) -> Iterator[str]:
    """Yield each way in which the locks of a checkout do not fit its pyproject.toml.

    Dependencies, extras and the group `build` belong in requirements.txt. Every other group belongs
    in a lock named after it, which has nothing that requirements.txt has.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = settings["project"], dict(settings["dependency-groups"])
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    of_users = _versions(root / "requirements.txt")
    yield from _unlocked(
        [*project["dependencies"], *extras, *groups.pop("build")], of_users, "requirements.txt"
    )
    for group, requirements in groups.items():
        name = f"requirements-{group}.txt"
        added = _versions(root / name)
        yield from _unlocked(requirements, {**of_users, **added}, name)
        for twice in sorted(of_users.keys() & added.keys()):
            yield f"{name}: {twice} is in requirements.txt as well"


def _versions(lock: Path) -> dict[str, list[str]]:
    """Return the locked versions of each package; of some there is one for each Python."""
    found: dict[str, list[str]] = {}
    for package in locked(lock):
        found.setdefault(package.name, []).append(package.version)
    return found


def _unlocked(requirements: list[str], versions: dict[str, list[str]], name: str) -> Iterator[str]:
    for each in map(Requirement, requirements):
        found = versions.get(canonicalize_name(each.name), [])
        if not all(each.specifier.contains(version, prereleases=True) for version in found):
            yield f"{name}: {each.name} is locked at {', '.join(found)}, and not {each.specifier}"
        elif not found:
            yield f"{name}: {each.name} is not locked"


@cache
def installed() -> dict[str, Distribution]:
    """Return what is installed beside this Python, by name."""
    return {canonicalize_name(one.name): one for one in distributions()}


@cache
def policy() -> dict[str, Any]:
    """Return `licences.toml`."""
    path = Path(__file__).with_name("licences.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def licence_of(name: str) -> str:
    """Return the SPDX expression of a package's licence; empty where it states none.

    It is the package's own, from its metadata; else what `licences.toml` says that its words mean.
    """
    if (found := installed().get(name)) is not None:
        for field in ("License-Expression", "License"):
            if field in found.metadata and is_expression(found.metadata[field]):
                return found.metadata[field].strip()
    stated: str = policy()["stated"].get(name, "")
    return stated


@cache
def _spdx() -> Licensing:
    """Return the reader of SPDX expressions: it takes a second to make."""
    return get_spdx_licensing()


def is_expression(text: str) -> bool:
    """Return whether a text is an SPDX expression of known licences."""
    try:
        _spdx().parse(text.strip(), validate=True)
    except ExpressionError:
        return False
    return bool(text.strip())


def is_allowed(name: str, expression: str) -> bool:
    """Return whether a package may have this licence."""
    odd = policy()["odd"].get(name)
    if odd is not None:
        same: bool = odd["licence"] == expression
        return same
    if not is_expression(expression):
        return False
    return _holds(_spdx().parse(expression))


def _holds(node: Any) -> bool:
    """Return whether a parsed expression can be met by allowed licences."""
    if getattr(node, "operator", "").strip() in {"AND", "OR"}:
        meets = [_holds(one) for one in node.args]
        return all(meets) if node.operator.strip() == "AND" else any(meets)
    return str(node.render()) in policy()["allowed"]


def main() -> int:
    """Say what is wrong with the locks, on stderr; return the exit status."""
    found = list(problems())
    for problem in found:
        sys.stderr.write(f"{problem}: run  make lock\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
