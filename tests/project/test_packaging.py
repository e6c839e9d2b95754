"""The wheel carries what it needs, and runs outside the checkout; the lock and the tree are sound.

Nothing here uses the network.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from itertools import combinations
from pathlib import Path

import pytest

from recon import __version__

ROOT = Path(__file__).resolve().parents[2]
NAMED_BY_THE_USER = (
    *("recon", "connectors", "sql", "tests", "cron", "docs"),
    *("pyproject.toml", "README.md"),
)
KINDS = (".py", ".sql", ".md", "biases.csv", "py.typed")
LOCKS_OF_PEERS = [
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "benchmarks" / "peers").glob("*.txt"))
]
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "simple" + "/ --index")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)],
        cwd=ROOT,
    )
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a fresh environment with the wheel in it, and with this one's libraries beside it."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    options = ["--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "--python", str(python), "install", *options, str(wheel)])
    # After the wheel, so that pip does not take a checkout installed here for it. What a .pth file
    # names is searched last, and .pth files in there (an editable install's) are not read.
    [site] = (folder / "lib").glob("python3.*/site-packages")
    (site / "libraries.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n",
        encoding="utf-8",
    )
    return folder


def test_the_wheel_carries_code_queries_and_mappings(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    wanted = {
        *(f"recon/{path.relative_to(ROOT)}" for path in (ROOT / "sql").rglob("*.sql")),
        *(str(path.relative_to(ROOT)) for path in (ROOT / "connectors").rglob("*.py")),
        *(str(path.relative_to(ROOT)) for path in (ROOT / "recon").rglob("*.py")),
    }
    assert wanted - carried == set()
    assert any(name.startswith("recon/sql/mappings/freqtrade/") for name in carried)
    assert any(name.startswith("recon/demo/") for name in carried)


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        licences = [name for name in archive.namelist() if name.endswith("LICENSE")]
    assert [name for name in names if not name.startswith(("recon/", "connectors/"))] == []
    assert [name for name in names if not name.endswith(KINDS)] == []
    assert licences


def test_the_distribution_has_a_name_of_its_own(wheel: Path) -> None:
    """`recon` on PyPI is another project."""
    assert wheel.name == f"recon_pnl-{__version__}-py3-none-any.whl"


def test_the_installed_recon_is_its_own(installed: Path) -> None:
    code = "import recon, connectors; print(recon.__file__); print(connectors.__file__)"
    found = _run([str(installed / "bin" / "python"), "-c", code], cwd=installed).splitlines()
    assert [Path(path).is_relative_to(installed) for path in found] == [True, True]


def test_the_installed_recon_answers(installed: Path) -> None:
    program = str(installed / "bin" / "recon")
    assert "Is what the bots say they earned true?" in _run([program, "--help"], cwd=installed)
    assert __version__ in _run([program, "--version"], cwd=installed)


def test_the_installed_recon_plays_the_demo(installed: Path, tmp_path: Path) -> None:
    told = _run([str(installed / "bin" / "recon"), "demo", "--json"], cwd=tmp_path)
    assert isinstance(json.loads(told), dict)
    assert (tmp_path / "recon-demo").is_dir()


def test_no_registry_is_named_anywhere() -> None:
    """Where packages come from is the installer's configuration, and none of the project's."""
    for path in _tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        assert [name for name in REGISTRIES if name in text] == [], path


@pytest.mark.parametrize(
    "lock",
    [
        "requirements.txt",
        "requirements-test.txt",
        "requirements-docs.txt",
        "tests/ib_insync.txt",
        *LOCKS_OF_PEERS,
    ],
    ids=str,
)
def test_every_locked_package_has_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[A-Za-z0-9._-]+==\S+ ", line), line[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line[:80]


def test_all_locks_name_the_same_versions() -> None:
    """They are installed in one environment."""
    locks = [_versions(f"requirements{part}.txt") for part in ("", "-test", "-docs")]
    for one, other in combinations(locks, 2):
        shared = one.keys() & other.keys()
        assert {name: other[name] for name in shared} == {name: one[name] for name in shared}


def test_the_top_level_is_what_the_user_named() -> None:
    assert [name for name in NAMED_BY_THE_USER if not (ROOT / name).exists()] == []


def test_ci_runs_the_tests_and_says_what_it_lacks(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", checkout / ".ci" / "run")
    (checkout / "Makefile").write_text(
        "docs:\n\ntest:\n\t@echo shared data in $$RECON_SHARED_DATA\nlint-sql:\n\t@echo queries\n",
        encoding="utf-8",
    )
    command = [str(checkout / ".ci" / "run")]
    for missing in ("data", "cases", "hostile"):
        without = subprocess.run(command, capture_output=True, text=True, check=False)
        assert without.returncode == 1
        assert f"{tmp_path}/shared/{missing}" in without.stderr
        (tmp_path / "shared" / missing).mkdir(parents=True)
    for name in ("cases", "hostile"):
        _write_script(tmp_path / "shared" / name / "run-all", f'echo "{name} with $1"')
    assert _run(command, cwd=tmp_path).endswith(
        f"shared data in {tmp_path}/shared/data\nqueries\n"
        "cases with .venv/bin/recon\nhostile with .venv/bin/recon\n"
    )
    for name in ("cases", "hostile"):
        _write_script(tmp_path / "shared" / name / "run-all", "exit 1")
        wrong = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert wrong.returncode == 1
        _write_script(tmp_path / "shared" / name / "run-all", "exit 0")


def _write_script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def _tracked() -> list[Path]:
    """Return the files that belong to the project: git's own, or what is there without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        found = [ROOT / name for name in done.stdout.split("\0") if name]
    else:
        found = list(ROOT.rglob("*.*"))
    return [path for path in found if path.is_file()]


def _versions(lock: str) -> dict[str, list[str]]:
    """Return the versions of each package in a lock: one for each platform that differs."""
    found: dict[str, list[str]] = {}
    text = (ROOT / lock).read_text(encoding="utf-8")
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(_plain(name), []).append(version)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(command: list[str], cwd: Path | None = None) -> str:
    """Return what a command printed; it sees no setting that leads it back to this checkout."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
