"""The TWS connector with ib_insync in ib_async's place, in an environment of its own.

The two share the module `eventkit`, and must never be installed side by side: so pip makes another
environment, once, from `tests/ib_insync.txt`, and the same tests run there. It stays in pytest's
cache folder until that file changes.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKED = ROOT / "tests" / "ib_insync.txt"
TIMEOUT_S = 240


@pytest.fixture(scope="module")
def python(pytestconfig: pytest.Config) -> Path:
    """Give the interpreter of the environment; pip needs its package index where it is not made."""
    folder = pytestconfig.cache.mkdir("ib_insync")
    stamp, program = folder / "made-from", folder / "bin" / "python"
    made_from = hashlib.sha256(LOCKED.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="ascii") != made_from:
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)])
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(program),
                "install",
                *options,
                "--requirement",
                str(LOCKED),
            ]
        )
        stamp.write_text(made_from, encoding="ascii")
    return program


def run(command: list[str]) -> str:
    """Return what a command printed; it sees no setting that leads it back to this environment."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith("PYTEST_")
    }
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_same_tests_pass_with_ib_insync(python: Path) -> None:
    installed = (
        "import ib_insync as i, importlib.util as u; print(i.__version__, u.find_spec('{}'))"
    )
    assert run([str(python), "-c", installed.format("ib_async")]).split() == ["0.9.86", "None"]
    mine = ["-o", "addopts=", "-p", "no:cacheprovider", "--import-mode=importlib", "--noconftest"]
    output = run([str(python), "-m", "pytest", *mine, "-q", "tests/connectors/test_ibkr_tws.py"])
    assert " passed" in output
    assert "skipped" not in output
