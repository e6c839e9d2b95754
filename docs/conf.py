"""How Sphinx builds the documentation: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs._generate.reference import expand  # noqa: E402 - the checkout must be on the path first
from recon import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "recon"
release = __version__
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"recon {release}"
exclude_patterns = ["_generate"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # samples end in `…`, which no lexer knows


def setup(app: Sphinx) -> None:
    """Have the generated parts of pages put in place before they are parsed."""
    app.connect("source-read", _expand)


def _expand(_: Sphinx, __: str, content: list[str]) -> None:
    content[0] = expand(content[0])
