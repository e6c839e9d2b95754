"""A virtual environment of its own for each peer, from requirements that are locked by hash."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.promises import Run

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE / ".envs"
SCRIPTS = HERE / "peers"
TIMEOUT_S = 600


class NotHereError(Exception):
    """A peer's environment is not there, and why."""


def python_of(name: str, run: Run) -> Path:
    """Return the Python of a peer's environment, made first where it is not there yet.

    Raises NotHereError when quick and not there, or when it cannot be made.
    """
    folder = ENVIRONMENTS / name
    locked = SCRIPTS / f"{name}.txt"
    stamp = folder / "made-from"
    digest = hashlib.sha256(locked.read_bytes()).hexdigest()
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text(encoding="ascii") == digest:
        return python
    if run.is_quick:
        raise NotHereError("its environment is not made yet, and not when quick: make bench")
    run.note(f"{name}: making its environment, once")
    install = [
        *(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--no-deps", "--requirement", str(locked)),
    ]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], install):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NotHereError(f"its environment cannot be made: {_last_line(error)}") from error
    stamp.write_text(digest, encoding="ascii")
    return python


def run_script(python: Path, script: str, *arguments: str) -> str:
    """Run a peer's script, seeing nothing but its own environment; return what it printed."""
    command = [str(python), "-I", "-W", "ignore", str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S, text=True)
    return done.stdout


def _last_line(error: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    lines = (error.stderr or b"").decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), type(error).__name__)
