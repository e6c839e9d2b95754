"""The kernel is compiled once for all workers: the first one keeps it, the others load it."""

from __future__ import annotations

import fcntl

import pytest

pytest.register_assert_rewrite("tests.lots.compiled.histories")


@pytest.fixture(scope="package", autouse=True)
def _compiled(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """Compile the kernel, or load what another worker has compiled."""
    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent
    with (folder / "kernel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        from tests.lots.compiled import histories  # skips where numba is not installed

        histories.run([[histories.fill(1)]])
