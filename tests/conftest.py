"""What every test shares: Hypothesis is not timed here, since speed is measured elsewhere."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from recon.outside_text import forget_secrets

if TYPE_CHECKING:
    from tests.support.servers.postgres import PostgresServer

# Stated here, as Hypothesis takes other values where the environment says CI.
settings.register_profile("recon", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("recon")


SLOW = "slow"
"""The marker of tests that only `make test-all` runs whole; see `--slow`."""

AsNobody = Callable[[], AbstractContextManager[None]]
SEED = "RECON_TEST_SEED"
"""The environment variable with the seed of the run; see `--seed`."""
TRIED = "tried"
"""The property (`record_property`) by which a test says how much it has tried."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--slow`, the share of the slow tests to run, and `--seed`."""
    parser.addoption(
        "--slow",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="the share of the tests marked slow to run, chosen at random: 0 none, 1 all",
    )
    parser.addoption(
        "--seed",
        metavar="TEXT",
        default=datetime.now(UTC).strftime("%Y%m%d%H%M%S%f"),
        help="what the seeds of random tests and the choice of slow tests are made from "
        "[default: the time]; printed at the end",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and make the seed of the run known, also in workers of pytest-xdist."""
    config.addinivalue_line("markers", f"{SLOW}: runs in `make test-all`; see --slow")
    if worker := getattr(config, "workerinput", None):
        config.option.seed = worker["seed"]
    os.environ[SEED] = config.option.seed


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the seed to a worker: all of them must collect the same tests."""
    node.workerinput["seed"] = node.config.option.seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests that are not in this run's share."""
    share, seed = config.option.slow, config.option.seed
    left_out = [
        item
        for item in items
        if item.get_closest_marker(SLOW) and _place(seed, item.nodeid) >= share
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def slow_after(always: int, cases: Sequence[Any]) -> list[Any]:
    """Return parameters of which the first `always` run always, and the others are slow."""
    late = [pytest.param(case, marks=pytest.mark.slow) for case in cases[always:]]
    return [*cases[:always], *late]


def some_of(always: int, cases: Sequence[Any]) -> list[Any]:
    """Return parameters of which `always` run, others in each run, and the rest are slow."""
    chosen = drawn(repr(cases)).sample(range(len(cases)), always)
    return [
        case if number in chosen else pytest.param(case, marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]


def seeds(always: int, whole: int) -> list[Any]:
    """Return new seeds of random lives: `whole` of them, of which `always` are not slow.

    They are made from the seed of the run, even and odd in turn, and a test's name has its own.
    RECON_LIVES says otherwise: as many as it says, and none of them slow.
    """
    asked = os.environ.get("RECON_LIVES")
    run, count = os.environ[SEED], int(asked) if asked else whole
    made = [2 * int(500_000 * _place(run, str(number))) + number % 2 for number in range(count)]
    return made if asked else slow_after(always, made)


def drawn(name: str) -> random.Random:
    """Return a generator of random numbers that are new in each run; see `--seed`."""
    return random.Random(f"{os.environ[SEED]} {name}")


def _place(seed: str, name: str) -> float:
    """Return a number from 0 to 1, exclusive, that the seed and the name decide."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests say of how much they have tried, and how to repeat the random ones."""
    share, seed = terminalreporter.config.option.slow, terminalreporter.config.option.seed
    if share or terminalreporter.stats.keys() & {"failed", "error"}:
        terminalreporter.write_line(f"random tests: --slow {share:g} --seed {seed}")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, text in report.user_properties:
                if name == TRIED:
                    terminalreporter.write_line(f"{report.nodeid}: {text}")


@pytest.fixture(autouse=True)
def secrets_of_one_test() -> Iterator[None]:
    """Forget the secrets that a test has read: the next one may use the same words."""
    yield
    forget_secrets()


@pytest.fixture
def as_nobody(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> AsNobody:
    """Give what takes away the powers of root for a while, for whom every file is readable.

    The folders of the tests are private to root: nobody is let through to this test's own.
    """
    base = tmp_path_factory.getbasetemp()
    ours = [base, *(one for one in base.parents if one.name.startswith("pytest-"))]

    @contextmanager
    def powerless() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        for folder in (tmp_path, *ours):
            folder.chmod(0o755)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return powerless


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server, started by the first test that asks."""
    from tests.support.servers.postgres import PostgresServer

    with PostgresServer() as server:
        yield server
