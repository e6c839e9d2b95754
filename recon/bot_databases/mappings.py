"""A mapping: queries over a bot's own books, and which of its variants fits them.

The comments of a query say which columns it needs (`-- requires: table(column, …); …`), which it
reads as null where the books lack them (`-- optional: table(column, …); …`), and which rows of
these tables may change (`recon.core.watermarks`). An optional table that does not exist has no
rows: the bot keeps these data elsewhere.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from recon.core.records import Cause
from recon.core.watermarks import Watermarks, read_watermarks
from recon.errors import BotDatabaseError, ConfigError
from recon.outside_text import quoted_value
from recon.system.file_text import read_file_text
from recon.system.resources import sql_root

QUERIES = ("trades", "fills", "positions")
"""The queries of a mapping, of which only the first must be there."""

AUTO = "auto"
"""The name that stands for all shipped mappings."""
OWN_MAPPING = "recon mapping new FOLDER --bot BOT writes a mapping to begin with"

_COLUMNS_LINE = re.compile(r"^--\s*(requires|optional):\s*(.+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAMED_TABLE = re.compile(r'\bbot\s*\.\s*(?:(\w+)|"((?:[^"]|"")+)")', re.IGNORECASE)
_TABLE_OF_COLUMNS = re.compile(r"\s*(\w+)\s*\(([\w\s,]+)\)\s*")

MOST_FILES = 1000
"""What a mapping's folder may hold; the largest that is shipped holds a twentieth of it."""
MAX_QUERY_LENGTH = 250_000
"""How many characters a file of a mapping has, at most. The longest shipped one has 8,000."""

CAUSES = frozenset(get_args(Cause)) - {"unexplained"}
"""What a bias may be the cause of."""

Schema = Mapping[str, Sequence[tuple[str, str]]]
"""The columns of each of a bot's tables: their names and DuckDB types, in the table's order."""

Columns = Mapping[str, frozenset[str]]
"""Names of columns, by table; all in lower case."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of a mapping's queries, and the columns they need and may do without.

    `queries` are their files, by name (`trades`, and `fills` and `positions` where there are any).
    A query that its folder lacks is that of the nearest folder above, up to the mapping's own: so
    variants share what is the same for them. That one is `mapping`.
    """

    mapping: Path
    folder: Path
    queries: Mapping[str, Path]
    requires: Columns
    optional: Columns
    watermarks: Watermarks

    def missing(self, schema: Schema) -> list[str]:
        """Return the columns it needs that `schema` lacks, as `table.column`."""
        present = {
            table.lower(): {name.lower() for name, _ in columns}
            for table, columns in schema.items()
        }
        return [
            f"{table}.{column}"
            for table, columns in sorted(self.requires.items())
            for column in sorted(columns - present.get(table, set()))
        ]

    def biases(self) -> dict[str, str]:
        """Return its mapping's biases: see `biases`."""
        return _read_biases(self.mapping / "biases.csv")

    @property
    def weight(self) -> int:
        """How many columns it needs: of two that fit, the one that asks for more knows better."""
        return sum(len(columns) for columns in self.requires.values())


@dataclass(frozen=True, slots=True)
class BooksMapping:
    """A mapping as configured: its name, and the variants to choose from, by the bot's columns."""

    name: str
    variants: tuple[Variant, ...]

    def reads(self, table: str) -> bool:
        """Return whether any of its queries names `table`, as bot.table or bot."table".

        What no query names is not snapshotted: a bot may keep its keys beside its trades.
        """
        return table.lower() in {
            (plain or within.replace('""', '"')).lower()
            for variant in self.variants
            for path in variant.queries.values()
            for plain, within in _NAMED_TABLE.findall(query_text(path))
        }

    def watermarks(self, columns: Mapping[str, Sequence[str]]) -> Watermarks:
        """Return the watermarks of the variant that fits tables with these columns, as `choose`."""
        named = {table: [(name, "") for name in names] for table, names in columns.items()}
        return self.choose(named).watermarks

    def choose(self, schema: Schema) -> Variant:
        """Return the fitting variant that needs the most columns.

        Raises BotDatabaseError, which names what the nearest one lacks, where none fits.
        """
        lacking = {variant.folder: variant.missing(schema) for variant in self.variants}
        fitting = [variant for variant in self.variants if not lacking[variant.folder]]
        if fitting:
            return max(fitting, key=lambda variant: variant.weight)
        nearest = min(self.variants, key=lambda variant: len(lacking[variant.folder]))
        if self.name == AUTO:
            tables = ", ".join(sorted(schema)) or "none"
            raise BotDatabaseError(
                f"these books (tables: {tables}) fit no shipped mapping: the nearest, "
                f"{nearest.folder.relative_to(sql_root() / 'mappings')}, lacks "
                f"{', '.join(lacking[nearest.folder])}: {OWN_MAPPING}"
            )
        raise BotDatabaseError(
            f"mapping {self.name} does not fit these books: the nearest, {nearest.folder}, lacks "
            f"{', '.join(lacking[nearest.folder])}: name another mapping, or write one"
        )

    @property
    def refusal(self) -> tuple[str, str]:
        """Why books are refused of which it reads no table, and what to do."""
        if self.name == AUTO:
            return "no shipped mapping knows", OWN_MAPPING
        return f"mapping {self.name} does not read", "see that `books` names what the bot writes"


def find_mapping(name_or_folder: str, base: Path) -> BooksMapping:
    """Return a shipped mapping, or the one in a folder relative to `base`; "auto": all shipped.

    Raises ConfigError, which lists the shipped ones, where there is none.
    """
    folders = folders_of(name_or_folder, base)
    variants = [one for folder in folders for one in _variants(folder)]
    if not variants:
        raise ConfigError(
            f"mapping {name_or_folder!r} is neither shipped nor a folder with a trades.sql: "
            f"name auto, {', '.join(_shipped())}, or such a folder, relative to {base}"
        )
    return BooksMapping(name_or_folder, tuple(variants))


def mapping_key(name_or_folder: str, base: Path) -> str:
    """Return what tells a mapping from others: a folder of one's own, or "" for a shipped one."""
    if name_or_folder == AUTO or name_or_folder in _shipped():
        return ""
    return os.path.realpath(base / name_or_folder)


def biases(name_or_folder: str, base: Path = Path()) -> dict[str, str]:
    """Return in which ways a mapping's bot is known to be wrong: a sentence by cause, of `CAUSES`.

    They are the file `biases.csv` of a shipped mapping, or of a folder relative to `base`; none
    where there is no such file. Raises ConfigError for a file that is not one.
    """
    return _read_biases((_shipped().get(name_or_folder) or base / name_or_folder) / "biases.csv")


def _shipped() -> dict[str, Path]:
    root = sql_root() / "mappings"
    return {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}


def _read_biases(path: Path) -> dict[str, str]:
    if not os.path.exists(path):
        return {}
    try:
        rows = list(csv.reader(query_text(path).splitlines()))
    except csv.Error as error:
        raise ConfigError(f"{path} is no CSV ({error}): write `cause,says`, a line each") from error
    if rows[:1] != [["cause", "says"]] or any(len(row) != 2 for row in rows):
        raise ConfigError(f"{path}: begin it with `cause,says`, and give each row these two")
    causes = [cause for cause, _ in rows[1:]]
    if unknown := sorted(set(causes) - CAUSES):
        known = ", ".join(sorted(CAUSES))
        raise ConfigError(f"{path}: {quoted_value(unknown[0])} is no cause: use one of {known}")
    if len(set(causes)) < len(causes):
        raise ConfigError(f"{path}: name each cause once")
    return dict(zip(causes, (says for _, says in rows[1:]), strict=True))


def _variants(mapping: Path) -> list[Variant]:
    return [
        _variant(mapping, path.parent)
        for path in sorted(files_of(mapping))
        if path.name == "trades.sql" and _is_file(path)
    ]


def files_of(mapping: Path) -> list[Path]:
    """Return everything inside a mapping's folder, its variants' folders included.

    Raises ConfigError for a folder that holds too much to be one.
    """
    found: list[Path] = []
    for folder, folders, files in os.walk(mapping):
        found += [Path(folder) / name for name in (*folders, *files)]
        if len(found) > MOST_FILES:
            raise ConfigError(
                f"mapping {str(mapping)!r} holds more than {MOST_FILES} files: name the folder of "
                "the queries alone"
            )
    return found


def folders_of(name_or_folder: str, base: Path) -> list[Path]:
    """Return the folders that a configured mapping is read from; "auto": those of all shipped."""
    shipped = _shipped()
    if name_or_folder == AUTO:
        return list(shipped.values())
    return [shipped.get(name_or_folder) or base / name_or_folder]


def _variant(mapping: Path, folder: Path) -> Variant:
    queries = {name: path for name in QUERIES if (path := _query(mapping, folder, name))}
    texts = {path: query_text(path) for path in queries.values()}
    for path, text in texts.items():
        if not _COMMENT.sub("", text).strip(" \t\r\n;\0"):
            raise ConfigError(f"{path} holds no query: write one select over the bot's tables")
    watermarks = read_watermarks(texts)
    # What a watermark asks for must be there, as anything that the query itself reads.
    requires = _columns("requires", {path: texts[path] for path in [queries["trades"]]})
    for table, columns in watermarks.requires.items():
        requires[table] = requires.get(table, frozenset()) | columns
    return Variant(mapping, folder, queries, requires, _columns("optional", texts), watermarks)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)


def _query(mapping: Path, folder: Path, name: str) -> Path | None:
    for place in (folder, *folder.parents):
        if not place.is_relative_to(mapping):
            return None
        if _is_file(place / f"{name}.sql"):
            return place / f"{name}.sql"
    return None


def _columns(word: str, texts: Mapping[Path, str]) -> dict[str, frozenset[str]]:
    """Read the lines `-- word: table(column, …); …` of queries' comments."""
    named: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for path, text in texts.items():
        for line in (line for found, line in _COLUMNS_LINE.findall(text) if found == word):
            for part in line.rstrip(" ;").split(";"):
                match = _TABLE_OF_COLUMNS.fullmatch(part)
                if match is None:
                    shape = f"-- {word}: table(column, …); …"
                    raise ConfigError(f"{path}: write `{shape}`, not {quoted_value(part)}")
                columns = frozenset(name.strip().lower() for name in match[2].split(","))
                named[match[1].lower()] |= columns
    return dict(named)


def query_text(path: Path) -> str:
    """Return the text of one query. Raises ConfigError where it is none, or too long."""
    try:
        text = read_file_text(path).text
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): let it be a file of UTF-8 text that this "
            "user can read"
        ) from error
    if len(text) > MAX_QUERY_LENGTH:
        raise ConfigError(
            f"{path} has more than {MAX_QUERY_LENGTH:,} characters: shorten it, or keep lists of "
            "values in the bot's database"
        )
    return text
