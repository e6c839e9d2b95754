"""What every test shares: Hypothesis is not timed here, since speed is measured elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

settings.register_profile("recon", deadline=None)
settings.load_profile("recon")


AsNobody = Callable[[], AbstractContextManager[None]]
TRIED = "tried"
"""The property (`record_property`) by which a test says how much it has tried."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests say of how much they have tried."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, text in report.user_properties:
                if name == TRIED:
                    terminalreporter.write_line(f"{report.nodeid}: {text}")


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
    from tests.servers.postgres import PostgresServer  # noqa: PLC0415 - not all tests need it

    with PostgresServer() as server:
        yield server
