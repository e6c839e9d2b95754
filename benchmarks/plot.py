"""The plot of the README: how far each promise is kept, on one logarithmic axis, as an SVG.

1 is the promise itself; what is right of it is kept that many times over, what is left is broken.
Written by hand: a few kilobytes, text that can be searched, and readable on light and dark pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from benchmarks.promises import Line, Target

WIDTH, ROW, TOP, LABELS, FIGURES, FOOT = 880, 24, 40, 200, 270, 36
MOST = 100.0
"""What is kept more than a hundred times over is drawn at a hundred."""

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .dim { fill: #656d76 }
.grid { stroke: #d1d9e0 } .one { stroke: #656d76; stroke-width: 1.5 }
.held { stroke: #1a7f37; fill: #1a7f37 } .broken { stroke: #cf222e; fill: #cf222e }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .dim { fill: #9198a1 } .grid { stroke: #3d444d } .one { stroke: #9198a1 }
.held { stroke: #3fb950; fill: #3fb950 } .broken { stroke: #f85149; fill: #f85149 } }
"""


def write(lines: Sequence[Line], path: Path) -> None:
    """Draw every promise that was measured; nothing where none was."""
    margins = [
        (line, line.target, min(line.target.margin(line.measured), MOST))
        for line in lines
        if line.target is not None and line.measured is not None and line.target.value
    ]
    if margins:
        path.write_text("\n".join(_drawn(margins)) + "\n", encoding="utf-8")


def _drawn(margins: Sequence[tuple[Line, Target, float]]) -> Iterator[str]:
    low = min(-1, floor(log10(min(margin for *_, margin in margins))))
    high = max(1, ceil(log10(max(margin for *_, margin in margins))))
    height = TOP + ROW * len(margins) + FOOT
    bottom = height - FOOT

    def across(margin: float) -> float:
        share = (log10(margin) - low) / (high - low)
        return round(LABELS + share * (WIDTH - LABELS - FIGURES), 1)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="Measured against promised">'
    )
    yield f"<style>{STYLE}</style>"
    for power in range(low, high + 1):
        at = across(10.0**power)
        style = "grid" if power else "one"
        label = f"{10.0**power:g}×" if power else "promised"
        yield f'<line class="{style}" x1="{at}" x2="{at}" y1="{TOP - 12}" y2="{bottom}"/>'
        yield f'<text class="dim" x="{at}" y="{TOP - 18}" text-anchor="middle">{label}</text>'
    one = across(1.0)
    for row, (line, target, margin) in enumerate(margins):
        y = TOP + ROW * row + ROW // 2
        at, style = across(margin), "held" if margin >= 1 else "broken"
        yield f'<text x="{LABELS - 12}" y="{y + 4}" text-anchor="end">{escape(line.what)}</text>'
        yield f'<line class="{style}" stroke-width="4" x1="{one}" x2="{at}" y1="{y}" y2="{y}"/>'
        yield f'<circle class="{style}" cx="{at}" cy="{y}" r="5"/>'
        figures = escape(f"{line.shown}, promised {target.limit}")
        yield f'<text x="{WIDTH - FIGURES + 14}" y="{y + 4}">{figures}</text>'
    foot = "right of the line: kept, so many times over; left of it: broken"
    yield f'<text class="dim" x="{one}" y="{height - 12}" text-anchor="middle">{foot}</text>'
    yield "</svg>"
