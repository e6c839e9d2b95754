"""Every licence is allowed, the bill of materials is whole, the wheel is the same twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from supply_chain.audit import audit
from supply_chain.locked import (
    LOCK,
    ROOT,
    TEST_LOCK,
    is_allowed,
    is_expression,
    licence_of,
    locked,
    policy,
    problems,
)
from supply_chain.sbom import bill_of_materials
from tests.project.test_packaging import REGISTRIES

EPOCH = "1790000000"


def test_every_locked_package_has_a_licence_that_is_allowed() -> None:
    refused = {
        one.name: licence_of(one.name) or "none that its metadata states"
        for one in (*locked(LOCK), *locked(TEST_LOCK))
        if not is_allowed(one.name, licence_of(one.name))
    }
    assert refused == {}, "read the licence, then add it to licences.toml, or do without"


def test_the_list_of_licences_has_nothing_of_packages_that_are_gone() -> None:
    names = {one.name for one in (*locked(LOCK), *locked(TEST_LOCK))}
    assert (policy()["stated"].keys() | policy()["odd"].keys()) - names == set()
    assert all(one["why"] for one in policy()["odd"].values())


def test_the_locks_have_what_pyproject_names() -> None:
    assert list(problems()) == []


@pytest.mark.parametrize(
    ("lock", "old", "new", "problem"),
    [
        ("requirements.txt", "two==1.5 ", "too==1.5 ", "requirements.txt: two is not locked"),
        (
            "requirements.txt",
            "two==1.5 ",
            "two==2.0 ",
            "requirements.txt: two is locked at 2.0, and not <2",
        ),
        ("requirements-test.txt", "four==", "for==", "requirements-test.txt: four is not locked"),
        (
            "requirements-test.txt",
            "four==",
            "one==",
            "requirements-test.txt: one is in requirements.txt as well",
        ),
    ],
)
def test_a_lock_that_does_not_fit_is_said(
    tmp_path: Path, lock: str, old: str, new: str, problem: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["one"]\n'
        '[project.optional-dependencies]\nmore = ["two<2"]\n'
        '[dependency-groups]\nbuild = ["three"]\ntest = ["one", "four"]\n'
    )
    hashed = f" --hash=sha256:{'0' * 64}\n"
    (tmp_path / "requirements.txt").write_text(
        "".join(f"{each}{hashed}" for each in ("one==1", "two==1.5", "three==1"))
    )
    (tmp_path / "requirements-test.txt").write_text(f"four==1{hashed}")
    assert list(problems(tmp_path)) == []
    path = tmp_path / lock
    path.write_text(path.read_text().replace(old, new))
    assert problem in list(problems(tmp_path))


@pytest.mark.parametrize(
    ("name", "expression", "is_fine"),
    [
        ("some", "MIT", True),
        ("some", "MIT OR GPL-3.0-only", True),
        ("some", "MIT AND GPL-3.0-only", False),
        ("some", "Apache-2.0 WITH LLVM-exception", True),
        ("some", "GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("some", "(MIT OR ISC) AND BSD-3-Clause", True),
        ("some", "AGPL-3.0-or-later", False),
        ("some", "BSD", False),
        ("some", "", False),
        ("psycopg", "LGPL-3.0-only", True),
        ("psycopg", "GPL-3.0-only", False),
        ("some", "LGPL-3.0-only", False),
    ],
)
def test_an_unknown_licence_is_not_allowed(*, name: str, expression: str, is_fine: bool) -> None:
    assert is_allowed(name, expression) is is_fine
    assert is_expression(expression) is (expression not in {"BSD", ""})


def test_the_bill_of_materials_lists_what_a_user_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    text = bill_of_materials()
    bill: dict[str, Any] = json.loads(text)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "recon-pnl"
    listed = {(one["name"], one["version"]): one for one in bill["components"]}
    assert listed.keys() == {(one.name, one.version) for one in locked()}
    for package in locked():
        entry = listed[package.name, package.version]
        assert {one["content"] for one in entry["hashes"]} == set(package.hashes)
        assert entry["licenses"]
        assert entry["purl"] == f"pkg:pypi/{package.name}@{package.version}"
    scopes = {one["name"]: one["scope"] for one in bill["components"]}
    assert [scopes[name] for name in ("duckdb", "pandas", "psycopg", "hatchling")] == [
        "required",
        "required",
        "optional",
        "excluded",
    ]
    wanted = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    [root] = [ref for ref in wanted if ref.startswith("recon-pnl@")]
    assert any(canonicalize_name("duckdb") in ref for ref in wanted[root])
    assert not {one.name for one in locked(TEST_LOCK)} & scopes.keys()
    assert [name for name in REGISTRIES if name in text] == []
    assert bill_of_materials() == text, "the same lock is the same bill"


def test_a_wheel_built_twice_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """In another folder, at another time, with other modes, umask, zone and language."""
    one, other = tmp_path / "one", tmp_path / "other" / "deeper"
    copy_of_the_sources(one, 0o644, 1_500_000_000)
    copy_of_the_sources(other, 0o600, 1_700_000_000)
    built = [
        wheel_of(one, 0o022, {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        wheel_of(other, 0o077, {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}),
    ]
    assert built[0][0] == built[1][0]
    assert built[0][1] == built[1][1]


def copy_of_the_sources(folder: Path, mode: int, at: float) -> None:
    """Copy what a wheel is made of, and give each file another mode and time."""
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("recon", "connectors", "sql"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
            os.utime(path, (at, at))


def wheel_of(folder: Path, umask: int, more: dict[str, str]) -> tuple[str, bytes]:
    """Build a wheel in a process of its own; return its name and its bytes."""
    environment = {**os.environ, **more, "SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel"],
        cwd=folder,
        env=environment,
        umask=umask,
        check=True,
        capture_output=True,
    )
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel.name, wheel.read_bytes()


@contextmanager
def database(*known: str) -> Iterator[str]:
    """Give the address of a database of vulnerabilities that knows of these packages."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked.get("package", {}).get("name", "")
            affected = [
                {
                    "package": {"name": name, "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
                }
            ]
            found = [{"id": "TEST-1", "summary": "it is broken", "affected": affected}]
            body = json.dumps({"vulns": found} if name in known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def test_an_audit_fails_for_a_finding_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("".join(f"{name}==1.0 --hash=sha256:{'0' * 64}\n" for name in ("one", "two")))
    with database() as address:
        assert audit(address, lock) == 0
    assert "No known vulnerabilities found" in "".join(capfd.readouterr())
    with database("two") as address:
        assert audit(address, lock) == 1
    said = "".join(capfd.readouterr())
    assert "TEST-1" in said
    assert "two" in said


def test_an_audit_without_a_database_is_skipped_and_says_which(
    capfd: pytest.CaptureFixture[str],
) -> None:
    begun = time.monotonic()
    assert audit("http://127.0.0.1:9/v1/query") == 0
    assert time.monotonic() - begun < 10
    said = "".join(capfd.readouterr())
    assert "audit SKIPPED: the vulnerability database 127.0.0.1:9 cannot be reached" in said
    assert "nothing was checked" in said
