"""A mapping: queries over a bot database, in variants, and the choice of the variant that fits.

The comments of a query name the columns that it needs (`-- requires: table(column, …); …`), the
columns that it reads as null where the database lacks them (`-- optional: table(column, …); …`),
and the rows of these tables that may change (`recon.core.watermarks`). An optional table that does
not exist has no rows: the bot keeps these data elsewhere.
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
"""The queries of a mapping. Only the first is required."""

AUTO = "auto"
"""The name that stands for all shipped mappings."""
OWN_MAPPING = "recon mapping new FOLDER --bot BOT writes a mapping to begin with"

_COLUMNS_LINE = re.compile(r"^--\s*(requires|optional):\s*(.+)$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAMED_TABLE = re.compile(r'\bbot\s*\.\s*(?:(\w+)|"((?:[^"]|"")+)")', re.IGNORECASE)
_TABLE_OF_COLUMNS = re.compile(r"\s*(\w+)\s*\(([\w\s,]+)\)\s*")

MOST_FILES = 1000
"""The most files in a mapping's folder. The largest shipped one holds a twentieth of that."""
MAX_QUERY_LENGTH = 250_000
"""The most characters in a file of a mapping. The longest shipped one has 8,000."""

CAUSES = frozenset(get_args(Cause)) - {"unexplained"}
"""The causes that a bias may have."""

Schema = Mapping[str, Sequence[tuple[str, str]]]
"""The columns of each of a bot's tables: their names and DuckDB types, in the table's order."""

Columns = Mapping[str, frozenset[str]]
"""Names of columns, by table; all in lower case."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of a mapping's queries, with their required and optional columns.

    `queries` holds the file of each query, by name (`trades`, and `fills` and `positions` if there
    are any). Variants share queries: if the variant's folder lacks one, the nearest folder above
    supplies it, up to the mapping's own folder, which is `mapping`.
    """

    mapping: Path
    folder: Path
    queries: Mapping[str, Path]
    requires: Columns
    optional: Columns
    watermarks: Watermarks

    def missing(self, schema: Schema) -> list[str]:
        """Return the required columns that `schema` lacks, as `table.column`."""
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
        """Return the biases of its mapping: see the function `biases`."""
        return _read_biases(self.mapping / "biases.csv")

    @property
    def weight(self) -> int:
        """The number of required columns: of two variants that fit, the heavier one is chosen."""
        return sum(len(columns) for columns in self.requires.values())


@dataclass(frozen=True, slots=True)
class BooksMapping:
    """A mapping as configured: its name, and the variants to choose from, by the bot's columns."""

    name: str
    variants: tuple[Variant, ...]

    def reads(self, table: str) -> bool:
        """Return whether any query of the mapping names `table`, as bot.table or bot."table".

        Tables that no query names are not snapshotted: a bot may keep its keys beside its trades.
        """
        return table.lower() in {
            (plain or within.replace('""', '"')).lower()
            for variant in self.variants
            for path in variant.queries.values()
            for plain, within in _NAMED_TABLE.findall(query_text(path))
        }

    def watermarks(self, columns: Mapping[str, Sequence[str]]) -> Watermarks:
        """Return the watermarks of the variant that `choose` returns for these columns."""
        named = {table: [(name, "") for name in names] for table, names in columns.items()}
        return self.choose(named).watermarks

    def choose(self, schema: Schema) -> Variant:
        """Return the fitting variant that needs the most columns.

        Raises BotDatabaseError if none fits; it names the columns that the nearest one lacks.
        """
        lacking = {variant.folder: variant.missing(schema) for variant in self.variants}
        fitting = [variant for variant in self.variants if not lacking[variant.folder]]
        if fitting:
            return max(fitting, key=lambda variant: variant.weight)
        nearest = min(self.variants, key=lambda variant: len(lacking[variant.folder]))
        if self.name == AUTO:
            tables = ", ".join(sorted(schema)) or "none"
            raise BotDatabaseError(
                f"no shipped mapping fits this database (tables: {tables}): the nearest, "
                f"{nearest.folder.relative_to(sql_root() / 'mappings')}, lacks "
                f"{', '.join(lacking[nearest.folder])}: {OWN_MAPPING}"
            )
        raise BotDatabaseError(
            f"mapping {self.name} does not fit this database: the nearest, {nearest.folder}, lacks "
            f"{', '.join(lacking[nearest.folder])}: name another mapping, or write one"
        )

    @property
    def refusal(self) -> tuple[str, str]:
        """The reason and the remedy for a bot database without any table that the mapping reads."""
        if self.name == AUTO:
            return "no shipped mapping knows", OWN_MAPPING
        return f"mapping {self.name} does not read", "let `database` name the bot's own database"


def find_mapping(name_or_folder: str, base: Path) -> BooksMapping:
    """Return a shipped mapping, or the one in a folder relative to `base`; "auto": all shipped.

    Raises ConfigError for any other name; it lists the shipped mappings.
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
    """Return the identity of a mapping: the path of its folder, or "" for a shipped one."""
    if name_or_folder == AUTO or name_or_folder in _shipped():
        return ""
    return os.path.realpath(base / name_or_folder)


def biases(name_or_folder: str, base: Path = Path()) -> dict[str, str]:
    """Return the known errors of a mapping's bot: a sentence for each cause, of `CAUSES`.

    They are read from `biases.csv` of a shipped mapping, or of a folder relative to `base`. Without
    that file there are none. Raises ConfigError for an invalid file.
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
        raise ConfigError(f"{path} is not CSV ({error}): write lines of `cause,says`") from error
    if rows[:1] != [["cause", "says"]] or any(len(row) != 2 for row in rows):
        raise ConfigError(
            f"{path} lacks the header or a value: begin it with `cause,says`, fill both in each row"
        )
    causes = [cause for cause, _ in rows[1:]]
    if unknown := sorted(set(causes) - CAUSES):
        known = ", ".join(sorted(CAUSES))
        raise ConfigError(f"{path}: {quoted_value(unknown[0])} is not a cause: use one of {known}")
    if len(set(causes)) < len(causes):
        raise ConfigError(f"{path} names a cause twice: name each cause once")
    return dict(zip(causes, (says for _, says in rows[1:]), strict=True))


def _variants(mapping: Path) -> list[Variant]:
    return [
        _variant(mapping, path.parent)
        for path in sorted(files_of(mapping))
        if path.name == "trades.sql" and _is_file(path)
    ]


def files_of(mapping: Path) -> list[Path]:
    """Return all paths inside a mapping's folder, including the folders of its variants.

    Raises ConfigError for a folder with too many files.
    """
    found: list[Path] = []
    for folder, folders, files in os.walk(mapping):
        found += [Path(folder) / name for name in (*folders, *files)]
        if len(found) > MOST_FILES:
            raise ConfigError(
                f"mapping {str(mapping)!r} holds more than {MOST_FILES} files: name the folder "
                "that holds only the queries"
            )
    return found


def folders_of(name_or_folder: str, base: Path) -> list[Path]:
    """Return the folders of a configured mapping; "auto": those of all shipped mappings."""
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
    # The columns of a watermark are required, like those that the query itself reads.
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
    """Return the columns, by table, that the lines `-- word: table(column, …); …` list."""
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
    """Return the text of one query. Raises ConfigError where it is unreadable or too long."""
    try:
        text = read_file_text(path).text
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): make it a file of UTF-8 text that recon's "
            "user can read"
        ) from error
    if len(text) > MAX_QUERY_LENGTH:
        raise ConfigError(
            f"{path} has more than {MAX_QUERY_LENGTH:,} characters: shorten it, or keep lists of "
            "values in the bot's database"
        )
    return text
