"""The picture of the demo in the README: an SVG of what a real `recon demo` prints.

`make picture` runs `recon demo | python -m docs._generate.demo_picture FILE`.
"""

from __future__ import annotations

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 94
FIRST, LAST = "as of ", "okx-demo: evidence"
"""How the first line of the picture begins, and the line after its last one."""
COLOURS = {
    r"\bdiverged\b": "bold red",
    r"\b(agreed|proven)\b": "bold green",
    r"\b(btc-quantum|eth-honest|sol-forgetful|basket)\b": "bold",
}
WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""rich's SVG loads its font from a web server. A picture in a file loads nothing."""


def picture(output: str) -> str:
    """Return the SVG of the result table in the output of the demo. Raises ValueError."""
    lines = [line.rstrip() for line in output.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith(FIRST)]
    ends = [number for number, line in enumerate(lines) if line.startswith(LAST)]
    if not starts or not ends:
        raise ValueError(f"the demo printed no result between {FIRST!r} and {LAST!r}")
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text("$ recon demo", style="bold"))
    for line in lines[starts[0] : ends[0]]:
        text = Text(line)
        for pattern, style in COLOURS.items():
            text.highlight_regex(pattern, style)
        console.print(text, no_wrap=True)
    return WEB_FONTS.sub("", console.export_svg(title="recon demo", unique_id="demo"))


def main() -> None:
    """Write the picture of the demo on stdin to the file that is named."""
    Path(sys.argv[1]).write_text(picture(sys.stdin.read()), encoding="utf-8")


if __name__ == "__main__":
    main()
