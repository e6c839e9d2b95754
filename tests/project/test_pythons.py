"""Each Python of this machine that the project names installs the locks and runs recon.

Slow, and pip fetches the packages; `make pythons` runs it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK_TESTS = ("tests/core", "tests/lots/test_book.py", "tests/lots/compiled/test_int128.py")


def versions() -> list[str]:
    """Return the versions of Python that pyproject.toml names: 3.11, 3.12, …"""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return re.findall(r":: Python :: (3\.\d+)", "\n".join(project["classifiers"]))


def interpreter(version: str) -> Path | None:
    """Return a Python of a version, of pyenv's or on the path. A shim may lead to none."""
    places = [
        *Path.home().glob(f".pyenv/versions/{version}.*/bin"),
        *map(Path, os.environ["PATH"].split(os.pathsep)),
    ]
    for python in (place / f"python{version}" for place in places):
        asked = [str(python), "-c", "import sys, venv, ensurepip; print(sys.version)"]
        if shutil.which(python) and _run(asked).stdout.startswith(f"{version}."):
            return python
    return None


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", versions())
def test_recon_installs_and_runs(
    version: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if request.config.option.slow < 1:
        pytest.skip("it installs whole environments: make pythons and make test-all run it")
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    binaries = tmp_path / "venv" / "bin"
    _succeed(str(python), "-m", "venv", str(binaries.parent))
    pip = [str(binaries / "python"), "-m", "pip", "install", "--no-deps"]
    try:
        _succeed(*pip, "--require-hashes", "--requirement", "requirements.txt")
        _succeed(*pip, "--no-build-isolation", "--editable", ".")
        assert "Is what the bots say they earned true?" in _succeed(
            str(binaries / "recon"), "--help"
        )
        _succeed(*pip, "--require-hashes", "--requirement", "requirements-test.txt")
        _succeed(str(binaries / "pytest"), "-n", "0", "-p", "no:cacheprovider", *QUICK_TESTS)
    finally:
        shutil.rmtree(binaries.parent)


def _succeed(*command: str) -> str:
    """Return what a command printed. It runs in the checkout, and has to succeed."""
    done = _run([*command])
    assert done.returncode == 0, f"{command}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done.stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
