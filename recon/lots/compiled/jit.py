"""How the kernel is compiled, and when what was compiled before may be used again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, TypeVar
from zlib import crc32

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

_njit: Any = numba.njit
_OPTIONS = {"error_model": "numpy", "boundscheck": False, "nogil": True, "_nrt": False}
"""No reference counts: nothing is allocated here, and the caller holds what it passes. With them,
each look at an array is two atomic instructions, and a program of looks is nine times slower."""
_PART = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def imprint(sources: Iterable[Traversable]) -> str:
    """Return a name that changes with any of these files."""
    check = 0
    for source in sorted(sources, key=lambda source: source.name):
        check = crc32(source.name.encode() + source.read_bytes(), check)
    return f"sources_{check:08x}"


def kernel_sources(package: Traversable) -> list[Traversable]:
    """Return the files of which something is compiled into the kernel; `package` is recon's."""
    own = package.joinpath("lots", "compiled").iterdir()
    return [
        package.joinpath("core", "numbers.py"),
        *(one for one in own if one.name.endswith(".py")),
    ]


IMPRINT = imprint(kernel_sources(files("recon")))


def compiled(function: Function) -> Function:
    """Compile a function that Python calls, and keep what came of it for the next process.

    It is kept beside the source, else in the user's cache folder; where neither can be written,
    each process compiles anew. numba compiles again where the function's own file has changed, or
    the types of its arguments: one of them should have `IMPRINT` in it, for all other files.
    """
    try:
        kept: Function = _njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: "no locator available": there is no folder to keep it in
        kept = _njit(**_OPTIONS)(function)
    return kept


def called(function: Function) -> Function:
    """Compile a function that compiled functions call, and that Python cannot."""
    part: Function = _njit(**_PART)(function)
    return part


def inlined(function: Function) -> Function:
    """Compile a function into those that call it."""
    part: Function = _njit(forceinline=True, **_PART)(function)
    return part
