"""`make lint`, `make lint-sql` and the hooks before a commit run the same tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
ENTRIES = [hook["entry"] for repository in HOOKS for hook in repository["hooks"]]


def test_the_hooks_and_make_run_the_same() -> None:
    stamps = ["--assume-old=.venv/.installed", "--assume-old=.venv/.installed-test"]
    targets = ["make", "--dry-run", "--always-make", *stamps, "lint", "lint-sql"]
    asked = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    made = subprocess.run(targets, cwd=ROOT, env=asked, capture_output=True, text=True, check=True)
    lines = [line for line in made.stdout.splitlines() if line.startswith(".venv/bin/")]
    run = [line for line in lines if "-m pip" not in line]
    assert len(run) == len(ENTRIES)
    assert [line for line in run if not any(map(line.startswith, ENTRIES))] == []


def test_the_hooks_download_nothing() -> None:
    assert {repository["repo"] for repository in HOOKS} == {"local"}
    assert {hook["language"] for repository in HOOKS for hook in repository["hooks"]} == {"system"}


@pytest.mark.parametrize(
    ("name", "wrong", "right", "hook"),
    [
        ("sql/odd.sql", "select a from t as is is\n", "select a from t\n", "sqlfluff"),
        ("odd.py", "import   os\n", "import os\n", "ruff-format"),
        ("odd.md", "Some " + "wier" + "d words.\n", "Some words.\n", "codespell"),
    ],
)
def test_a_hook_stops_a_commit(
    tmp_path: Path, name: str, wrong: str, right: str, hook: str
) -> None:
    for needed in (".pre-commit-config.yaml", "pyproject.toml"):
        shutil.copy(ROOT / needed, tmp_path / needed)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(wrong, encoding="utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert run("git", "init", "--quiet").returncode == 0
    assert run("git", "add", "pyproject.toml", name).returncode == 0
    stopped = run(sys.executable, "-m", "pre_commit", "run", hook)
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    path.write_text(right, encoding="utf-8")
    assert run("git", "add", name).returncode == 0
    passed = run(sys.executable, "-m", "pre_commit", "run", hook)
    assert passed.returncode == 0, passed.stdout + passed.stderr
