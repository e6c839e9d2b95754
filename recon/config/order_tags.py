"""Order tags: which ones cannot tell two bots apart, and which ones may be mistaken."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

INJECTED: Mapping[str, str] = {
    "ccxt": "6b9ad766b55dBCDE",
    "freqtrade": "ffb5405ad327SUDE",
    "hummingbot": "93027a12dac34fBC",
}
"""The prefix that each library writes before every `clOrdId` at OKX, whichever bot uses it."""


def library_of(tag: str) -> str | None:
    """Return the library whose injected prefix is `tag`, or begins with it; None where none is."""
    return next((name for name, prefix in INJECTED.items() if prefix.startswith(tag)), None)


def alike(tags: Mapping[str, str]) -> list[str]:
    """Return a warning for each tag that another tag begins with; `tags` are tags by bot.

    All bots are of one account.
    """
    return [
        f'the order_tag "{long}" of {other} begins with "{short}", the order_tag of {bot}: an '
        f'order of {bot} whose id goes on with "{long.removeprefix(short)}" by chance counts as '
        f"{other}'s: give one of them a tag that does not begin alike"
        for (bot, short), (other, long) in permutations(tags.items(), 2)
        if long != short and long.startswith(short)
    ]
