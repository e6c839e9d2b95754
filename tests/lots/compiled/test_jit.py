"""That the kernel is compiled once, kept, and compiled anew when its sources change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recon

pytest.importorskip("numba", reason="the extra for volume is not installed")

from recon.lots.compiled import BOOKS, LOTS, Opening, arrow, jit, kernel
from tests.lots.compiled.histories import batch_of, fill, run


def test_one_kernel_serves_all_batches_and_keeps_none_of_them() -> None:
    run([[fill(1)], [fill(2, rate=None)], [fill(3)._replace(is_inverse=None)]])
    assert len(kernel.run.signatures) == 1  # type: ignore[attr-defined]
    batch = batch_of([fill(1)], [("okx", "BTC")])
    given = arrow._columns(batch, 1)
    before = sys.getrefcount(given.key)
    nothing = Opening(BOOKS.empty_table(), LOTS.empty_table())
    held = arrow._fed(arrow._held_before([[0, 0]], nothing), given, [], [])
    after, held_after = sys.getrefcount(given.key), sys.getrefcount(held.state)
    assert (after, held_after) == (before, 2)


def test_it_is_there_where_no_folder_can_be_written(tmp_path: Path) -> None:
    """numba refuses to be asked to keep a kernel for which it finds no folder."""
    program = (
        "import numba.core.caching as c; c.CacheImpl._locator_classes = [];"
        "import recon.lots.compiled.kernel as k; print(type(k.run._cache).__name__)"
    )
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=path
    )
    assert done.stdout.strip() == "NullCache", done.stderr


def test_an_edit_of_any_of_its_files_makes_another_kernel(tmp_path: Path) -> None:
    """numba looks at one file; the others are in the type of what the kernel is given."""
    package = tmp_path / "recon"
    shutil.copytree(Path(recon.__file__).parent, package)
    sources = jit.kernel_sources(package)
    names = {source.name for source in sources}
    assert {"numbers.py", "int128.py", "kernel.py", "books.py", "values.py"} < names
    assert jit.imprint(sources) == jit.IMPRINT
    imprints = {jit.IMPRINT}
    for source in sources:
        path = Path(str(source))
        path.write_text(path.read_text() + "# edited\n")
        imprints.add(jit.imprint(jit.kernel_sources(package)))
    assert len(imprints) == 1 + len(sources)
    assert jit.IMPRINT in str(kernel.run.signatures)  # type: ignore[attr-defined]
