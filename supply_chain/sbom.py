"""Write the bill of materials: every package of requirements.txt with version, hashes, licence.

`python -m supply_chain.sbom FILE`, in CycloneDX. What only the tests need is not in it. The same
lock gives the same bytes, where SOURCE_DATE_EPOCH says which time to write.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from recon import __version__
from supply_chain.locked import LOCK, ROOT, Locked, installed, licence_of, locked


def main(arguments: list[str]) -> int:
    """Write the file that is named; return 0."""
    [name] = arguments
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bill_of_materials(), encoding="utf-8")
    sys.stdout.write(f"{path}: {len(list(locked()))} packages\n")
    return 0


def bill_of_materials() -> str:
    """Return the bill as JSON."""
    needed, optional = _needs()
    components = {one: _component(one, needed, optional) for one in locked()}
    name = _project()["name"]
    root = Component(
        name=name,
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref=f"{name}@{__version__}",
        licenses=[LicenseFactory().make_from_string("MIT")],
    )
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    written_at = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    bom = Bom(
        components=components.values(),
        serial_number=uuid5(NAMESPACE_URL, sha256(LOCK.read_bytes()).hexdigest()),
    )
    bom.metadata.component = root
    bom.metadata.timestamp = written_at
    by_name = {package.name: component for package, component in components.items()}
    by_name |= {
        package.name: component  # of two versions that are locked, the one for this platform
        for package, component in components.items()
        if package.name in installed() and installed()[package.name].version == package.version
    }
    wanted = {root: _names(_declared())} | {
        component: _names(_requirements(package.name, ()))
        for package, component in components.items()
    }
    for component, names in wanted.items():
        known = sorted(names & by_name.keys())
        bom.register_dependency(component, [by_name[name] for name in known])
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _component(package: Locked, needed: set[str], optional: set[str]) -> Component:
    scope = ComponentScope.EXCLUDED  # for the installation, or for another platform
    if package.name in needed:
        scope = ComponentScope.REQUIRED
    elif package.name in optional:
        scope = ComponentScope.OPTIONAL
    licence = licence_of(package.name)
    purl = PackageURL("pypi", None, package.name, package.version)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        scope=scope,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.hashes],
        licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
    )


def _needs() -> tuple[set[str], set[str]]:
    """Return what recon needs to run, and what its extras add to that."""
    needed = _closure(map(Requirement, _project()["dependencies"]))
    return needed, _closure(_declared()) - needed


def _declared() -> list[Requirement]:
    """Return what pyproject.toml names, the extras included."""
    project = _project()
    extras = [each for group in project["optional-dependencies"].values() for each in group]
    return [Requirement(each) for each in (*project["dependencies"], *extras)]


def _project() -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = settings["project"]
    return project


def _closure(requirements: Iterable[Requirement]) -> set[str]:
    """Return all packages that these requirements lead to on this platform."""
    found: set[tuple[str, tuple[str, ...]]] = set()
    waiting = list(requirements)
    while waiting:
        one = waiting.pop()
        step = (canonicalize_name(one.name), tuple(sorted(one.extras)))
        if step not in found:
            found.add(step)
            waiting += _requirements(*step)
    return {name for name, _ in found}


def _names(requirements: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(one.name) for one in requirements}


def _requirements(name: str, extras: tuple[str, ...]) -> list[Requirement]:
    """Return what an installed package requires on this platform."""
    package = installed().get(name)
    stated = [Requirement(each) for each in (package.requires if package else None) or ()]
    asked = [{"extra": extra} for extra in ("", *extras)]
    return [
        one
        for one in stated
        if one.marker is None or any(one.marker.evaluate(each) for each in asked)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
