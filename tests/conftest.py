"""What every test shares: Hypothesis is not timed here, since speed is measured elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer

settings.register_profile("recon", deadline=None)
settings.load_profile("recon")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Give a PostgreSQL server, started by the first test that asks."""
    from tests.servers.postgres import PostgresServer  # noqa: PLC0415 - not all tests need it

    with PostgresServer() as server:
        yield server
