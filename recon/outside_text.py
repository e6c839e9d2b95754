r"""Text from outside: secrets become their names, and characters that nobody sees become visible.

Venues, proxies, libraries and bots may repeat a secret, or send terminal codes. Two functions make
such text safe:

- `redact` replaces each configured secret, in every encoding that libraries write, by its name:
  `[secret accounts.okx-main.passphrase]`. It is for words: errors, reasons, log lines.
  `redact_data` does the same for evidence, documents and pages, and leaves out the weak secrets.
- `visible` writes control characters, bidirectional overrides, zero-width characters and lone
  surrogates as escapes: `\x1b`, `\u202e`.

A secret is *weak* where it could be an ordinary word or number: it is shorter than 8 characters, or
shorter than 16 and all letters or all digits. Data is never changed because of a weak secret: no
number can be lost to one. In words a weak secret counts where it stands alone. A secret of fewer
than 6 characters is never replaced. `recon check` names both.

Pure but for one thing: the secrets that this process has read.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from functools import cache
from html.entities import codepoint2name
from typing import Any, NamedTuple

SHORTEST = 6
"""Characters of the shortest secret that is replaced."""
STRONG, LONG = 8, 16
"""Characters from which on a secret of mixed kinds, and any secret, cannot be an ordinary word."""
LINE_FEED = "\n"
HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""The Unicode categories that `visible` writes as escapes: what has no form that all agree on."""
FORMULA_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫"
BASE64_END = r"(?:[A-Za-z0-9+/_-]|%2[BbFf])?(?:=|%(?:25){0,4}3[Dd]){0,2}"
LOOK_AHEAD = 65_536
"""Characters behind an excerpt that are searched for the secrets that begin in it."""
LONGEST_QUOTE = 100
"""Characters of a value that an error quotes."""
DEEP = 16
"""How often an escape may have been escaped again: a bound for the search."""
SHORT_ESCAPES = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f"}


class _Secret(NamedTuple):
    """A secret that is replaced: by what, how it is found, and what is in each of its encodings."""

    mark: str
    length: int
    pattern: re.Pattern[str]
    hints: list[str]
    is_weak: bool

    def is_in(self, text: str) -> bool:
        """Return whether a text has the secret. No encoding is shorter than the secret."""
        return (
            len(text) >= self.length
            and any(map(text.__contains__, self.hints))
            and bool(self.pattern.search(text))
        )


class _Secrets(NamedTuple):
    """The secrets that are replaced, the longest first, and what finds the marks left of them."""

    each: list[_Secret]
    strong: list[_Secret]
    marks: re.Pattern[str]


_secrets: dict[str, str] = {}
"""The name of each secret that this process has read."""


def remember_secret(name: str, value: str) -> None:
    """Have `redact` replace `value` by `name` from now on. The first name of a value stays."""
    if value and value not in _secrets:
        _secrets[value] = re.sub(r"[^\w.\- ]", "_", name)
        _known.cache_clear()


def forget_secrets() -> None:
    """Forget every secret: for a process that reads one configuration after the other."""
    _secrets.clear()
    _known.cache_clear()


def is_weak(value: str) -> bool:
    """Return whether a secret could be an ordinary word or number; see the module."""
    is_mixed = not (value.isalpha() or re.fullmatch(r"[\d.,eE+-]*", value))
    return len(value) < (STRONG if is_mixed else LONG)


def weak_secrets() -> list[tuple[str, int]]:
    """Return the name and the length of each weak secret."""
    return sorted({(name, len(value)) for value, name in _secrets.items() if is_weak(value)})


def redact(text: str) -> str:
    """Return words from outside with every secret replaced by its name. Idempotent."""
    known = _known()
    return _replaced(text, known.each, known.marks)


def redact_data(text: str) -> str:
    """Return evidence, or text that has numbers of ours, without any secret that is not weak."""
    known = _known()
    return _replaced(text, known.strong, known.marks)


def redact_leaves(value: Any) -> Any:
    """Return JSON data with `redact_data` applied to each text in it, keys included."""
    return _mapped(value, redact_data)


def data_hint() -> str | None:
    """Return a regular expression (of RE2 as well) that matches wherever `redact_data` may change.

    It is quick, and matches more. None: there is no such secret.
    """
    hints = [hint for one in _known().strong for hint in one.hints]
    return "|".join(map(re.escape, hints)) if hints else None


def excerpt(text: str, most: int) -> str:
    """Return the beginning of what was said outside, to be quoted in an error.

    Secrets are replaced first: a secret that was cut in two would not be recognised.
    """
    return redact(text[: most + LOOK_AHEAD])[:most]


def storable(text: str) -> str:
    r"""Return text that UTF-8 can write: a lone surrogate is written as its escape, `\ud83d`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def visible(text: str, *, keeps: str = LINE_FEED) -> str:
    r"""Return text whose unprintable characters are written as escapes: `\x1b`, `\u202e`.

    Escaped are Unicode's controls, format characters (bidirectional, zero-width), surrogates, line
    and paragraph separators, and codes for private use or for nothing yet, but for the characters
    in `keeps`. All other text stays as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        _escape(char) if char not in keeps and unicodedata.category(char) in HIDDEN else char
        for char in text
    )


def shown(text: str) -> str:
    """Return text as it may reach a terminal or a page: no secret that is not weak, all visible."""
    return visible(redact_data(text))


def shown_line(text: str) -> str:
    r"""Return text as `shown` does, in one line: a line feed in it is written as `\n`.

    A name or a reason from outside cannot begin a line of its own, and so cannot say what a line of
    recon says.
    """
    return visible(redact_data(text), keeps="")


def one_line(text: str, most: int = 1000) -> str:
    """Return a text with unprintable characters escaped, and not over-long."""
    return visible(text if len(text) <= most else f"{text[:most]}…", keeps="")


def quoted_value(value: object) -> str:
    """Return a value as an error quotes it: one line, visible, and not over-long."""
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_QUOTE else f"{value[:LONGEST_QUOTE]}…")
    if isinstance(value, int | Decimal | date | time):
        return one_line(str(value), LONGEST_QUOTE)
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else type(value).__name__


def shown_document(document: Any) -> Any:
    """Return JSON data with `shown_line` applied to each text in it, keys included."""
    return _mapped(document, shown_line)


def csv_cell(text: str) -> str:
    r"""Return text as a cell that no spreadsheet takes for a formula, in one line.

    A cell that begins with a sign of a formula, also after spaces or quotes, gets an apostrophe in
    front. So does the sign after a semicolon, which divides cells in many countries. A number of
    ours needs no such care, and must not come here.
    """
    line = re.sub(rf"(;[\s\"']*)([{FORMULA_SIGNS}])", r"\1'\2", shown_line(text))
    escapes = r"(?:[\s\"']|\\[nrt])*"
    is_formula = re.match(rf"{escapes}[{FORMULA_SIGNS}]|\\[nrt]", line)
    return f"'{line}" if is_formula else line


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value


def _escape(char: str) -> str:
    code = ord(char)
    if char in SHORT_ESCAPES and char in "\n\t\r":
        return f"\\{SHORT_ESCAPES[char]}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _replaced(text: str, secrets: list[_Secret], marks: re.Pattern[str]) -> str:
    for one in secrets:
        if one.is_in(text):
            # What has been replaced is no text from outside: a secret may be in its own name.
            parts = marks.split(text)
            parts[::2] = [one.pattern.sub(lambda _, mark=one.mark: mark, p) for p in parts[::2]]
            text = "".join(parts)
    return text


@cache
def _known() -> _Secrets:
    """Return how the secrets are found that this process has read by now."""
    every = [
        _Secret(
            f"[secret {name}]",
            len(value),
            re.compile("|".join(_encodings(value))),
            _hints(value),
            is_weak(value),
        )
        for value, name in sorted(_secrets.items(), key=lambda each: (-len(each[0]), each))
        if len(value) >= SHORTEST
    ]
    marks = "|".join(sorted({re.escape(one.mark) for one in every}, key=len, reverse=True))
    strong = [one for one in every if not one.is_weak]
    return _Secrets(every, strong, re.compile(f"({marks})"))


def _encodings(value: str) -> Iterator[str]:
    """Yield an expression for each encoding of a secret; a weak one stands alone."""
    plain = _plain(value)
    yield rf"(?<![^\W_])(?<!\d\.){plain}(?![^\W_]|\.\d)" if is_weak(value) else plain
    yield from _coded(value)


def _hints(value: str) -> list[str]:
    """Return texts of which one is in every encoding of a secret: no escape touches them."""
    data = _bytes(value).hex()
    each = [value, *_base64_cores(value)]
    runs = [max(re.findall(r"[A-Za-z0-9]*", one), key=len) for one in each]
    return [*runs, data, data.upper()]


def _plain(value: str) -> str:
    """Return an expression for a text as it is, and as URLs, JSON, Python and HTML write it."""
    return "".join(map(_any_escape, re.findall(r"\\+|[^\\]", value)))


def _coded(value: str) -> Iterator[str]:
    """Yield expressions for a secret in base64 and hexadecimal, also as a part of what is coded."""
    data = _bytes(value)
    misread = data.decode("latin-1")
    if misread != value:
        yield _plain(misread)
    yield from (data.hex(), data.hex().upper())
    for before, core in enumerate(_base64_cores(value)):
        is_shared = (before + len(data)) % 3 != 0
        yield "".join(map(_of_base64, core)) + (BASE64_END if is_shared else "")


def _base64_cores(value: str) -> list[str]:
    """Return a secret in base64 behind 0, 1 and 2 other bytes, as in `user:password`.

    Without the characters that depend on what stands before and after it as well.
    """
    data, cores = _bytes(value), []
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        is_shared = (before + len(data)) % 3 != 0
        cores.append(whole[(before * 8 + 5) // 6 : len(whole) - is_shared])
    return cores


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _of_base64(char: str) -> str:
    urlsafe = {"+": "-", "/": "_"}.get(char)
    return _any_escape(char) if urlsafe is None else f"(?:{urlsafe}|{_any_escape(char)})"


def _any_escape(char: str) -> str:
    """Return an expression for a character, or a run of backslashes, in any escape."""
    if char.isascii() and (char.isalnum() or char in "-._~"):
        return re.escape(char)
    if char[0] != "\\":
        return f"(?:{'|'.join(_ways(char))})"
    run = len(char)  # as a whole, so that a long run of them is searched once
    coded = "|".join(f"(?:{way}){{{run}}}" for way in _ways("\\")[1:])
    return rf"(?:\\{{{run},{run * DEEP}}}|{coded})"


def _ways(char: str) -> list[str]:
    """Return the expressions for a character as it is, then for its escapes."""
    code, data = ord(char), char.encode("utf-8", "surrogatepass")
    units = char.encode("utf-16-be", "surrogatepass").hex()
    ways = [
        rf"\\{{0,{DEEP}}}{re.escape(char)}" if char in "\"'/" else re.escape(char),
        "".join(f"%(?:25){{0,4}}{_digits(f'{byte:02x}')}" for byte in data),
        "".join(rf"\\{{1,{DEEP}}}x{_digits(f'{byte:02x}')}" for byte in data),
        "".join(rf"\\{{1,{DEEP}}}u{_digits(units[at : at + 4])}" for at in range(0, len(units), 4)),
        rf"&(?:amp;){{0,4}}#(?:0{{0,6}}{code}|[xX]0{{0,6}}{_digits(f'{code:x}')});",
    ]
    if not char.isascii():
        ways.append(rf"\\{{1,{DEEP}}}[xuU]0{{0,6}}{_digits(f'{code:x}')}")
    if char == " ":
        ways.append(r"(?:\+|%(?:25){0,4}2[bB])")
    if char in SHORT_ESCAPES:
        ways.append(rf"\\{{1,{DEEP}}}{SHORT_ESCAPES[char]}")
    if name := "apos" if char == "'" else codepoint2name.get(code):
        ways.append(f"&(?:amp;){{0,4}}{name};")
    return ways


def _digits(digits: str) -> str:
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)
