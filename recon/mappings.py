"""A mapping: queries over a bot's own books, and which of its variants fits them.

The comments of a query say which columns it needs (`-- requires: table(column, …); …`), and which
rows of these tables may change (`recon.watermarks`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recon.errors import BooksError, ConfigError
from recon.resources import sql_root
from recon.watermarks import Watermarks, read_watermarks

QUERIES = ("trades", "fills", "positions")
"""The queries of a mapping, of which only the first must be there."""

_REQUIRES = re.compile(r"^--\s*requires:\s*(.+)$", re.MULTILINE)
_REQUIRED_TABLE = re.compile(r"\s*(\w+)\s*\(([\w\s,]+)\)\s*")

Schema = Mapping[str, Sequence[tuple[str, str]]]
"""The columns of each of a bot's tables: their names and DuckDB types, in the table's order."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of a mapping's queries, and the columns they need: `requires[table]`, lower case.

    `queries` are their files, by name (`trades`, and `fills` and `positions` where there are any).
    A query that its folder lacks is that of the nearest folder above, up to the mapping's own: so
    variants share what is the same for them.
    """

    folder: Path
    queries: Mapping[str, Path]
    requires: Mapping[str, frozenset[str]]
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
        """Return whether any of its queries has the name of `table` in it.

        What no query names is not snapshotted: a bot may keep its keys beside its trades.
        """
        return any(
            table.lower() in query_text(path).lower()
            for variant in self.variants
            for path in variant.queries.values()
        )

    def watermarks(self, columns: Mapping[str, Sequence[str]]) -> Watermarks:
        """Return the watermarks of the variant that fits tables with these columns, as `choose`."""
        named = {table: [(name, "") for name in names] for table, names in columns.items()}
        return self.choose(named).watermarks

    def choose(self, schema: Schema) -> Variant:
        """Return the fitting variant that needs the most columns.

        Raises BooksError, which names what the nearest one lacks, where none fits.
        """
        lacking = {variant.folder: variant.missing(schema) for variant in self.variants}
        fitting = [variant for variant in self.variants if not lacking[variant.folder]]
        if fitting:
            return max(fitting, key=lambda variant: variant.weight)
        nearest = min(self.variants, key=lambda variant: len(lacking[variant.folder]))
        raise BooksError(
            f"mapping {self.name} does not fit these books: the nearest, {nearest.folder}, lacks "
            f"{', '.join(lacking[nearest.folder])}: name another mapping, or write one"
        )


def find_mapping(name_or_folder: str, base: Path) -> BooksMapping:
    """Return a shipped mapping, or the one in a folder relative to `base`; "auto": all shipped.

    Raises ConfigError, which lists the shipped ones, where there is none.
    """
    root = sql_root() / "books"
    shipped = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    if name_or_folder == "auto":
        variants = [one for folder in shipped.values() for one in _variants(folder)]
    else:
        variants = _variants(shipped.get(name_or_folder) or base / name_or_folder)
    if not variants:
        raise ConfigError(
            f"mapping {name_or_folder!r} is neither shipped nor a folder with a trades.sql: "
            f"name auto, {', '.join(shipped)}, or such a folder, relative to {base}"
        )
    return BooksMapping(name_or_folder, tuple(variants))


def _variants(mapping: Path) -> list[Variant]:
    return [
        _variant(mapping, path.parent)
        for path in sorted(mapping.rglob("trades.sql"))
        if path.is_file()
    ]


def _variant(mapping: Path, folder: Path) -> Variant:
    queries = {name: path for name in QUERIES if (path := _query(mapping, folder, name))}
    texts = {path: query_text(path) for path in queries.values()}
    watermarks = read_watermarks(texts)
    # What a watermark asks for must be there, as anything that the query itself reads.
    requires = _requires(queries["trades"], texts[queries["trades"]])
    for table, columns in watermarks.requires.items():
        requires[table] = requires.get(table, frozenset()) | columns
    return Variant(folder, queries, requires, watermarks)


def _query(mapping: Path, folder: Path, name: str) -> Path | None:
    for place in (folder, *folder.parents):
        if not place.is_relative_to(mapping):
            return None
        if (place / f"{name}.sql").is_file():
            return place / f"{name}.sql"
    return None


def _requires(path: Path, text: str) -> dict[str, frozenset[str]]:
    """Read `-- requires: table(column, …); …` from a query's comments."""
    needed: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for line in _REQUIRES.findall(text):
        for part in line.rstrip(" ;").split(";"):
            match = _REQUIRED_TABLE.fullmatch(part)
            if match is None:
                raise ConfigError(f"{path}: write `-- requires: table(column, …); …`, not {part!r}")
            columns = frozenset(name.strip().lower() for name in match[2].split(","))
            needed[match[1].lower()] |= columns
    return dict(needed)


def query_text(path: Path) -> str:
    """Return the text of one query. Raises ConfigError where it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from error
