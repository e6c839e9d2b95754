"""The connector of each configured source. Only this module knows settings and connectors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from connectors.bot_databases import csv_files, json_files, parquet_files
from connectors.bot_databases.files import FileReader, Parse
from connectors.bot_databases.postgres import PostgresReader
from connectors.bot_databases.snapshot import NOT_ASKED_FOR, Reader, Unknown, WholeBooks
from connectors.bot_databases.sqlite import SqliteDatabase
from connectors.ccxt_exchange.client import ExchangeKey, ExchangeSettings
from connectors.ccxt_exchange.connector import CcxtExchange
from connectors.ibkr_flex.client import BASE_URL, FLEX_PATIENCE
from connectors.ibkr_flex.connector import IbkrFlex, IbkrFlexFiles
from connectors.ibkr_tws.client import TwsAddress
from connectors.ibkr_tws.connector import IbkrTws
from connectors.okx.client import OkxKey
from connectors.okx.connector import OkxConnector
from connectors.protocol import Connector
from connectors.retry import RetryPolicy
from recon.config.settings import (
    Account,
    Bot,
    CcxtAccount,
    Config,
    FlexAccount,
    OkxAccount,
    TwsAccount,
)
from recon.core.calendars import calendar
from recon.core.limits import Limits
from recon.core.records import Clock
from recon.core.watermarks import Above
from recon.errors import ConfigError

MB = 1024 * 1024


def account_source(
    account: Account, config: Config, now: Clock, patience: RetryPolicy | None = None
) -> Connector:
    """Return the connector of one account. A venue's library is imported on first use."""
    given = patience or (FLEX_PATIENCE if isinstance(account, FlexAccount) else RetryPolicy())
    patience = replace(given, most_bytes=account.max_fetch_mb * MB)
    if isinstance(account, OkxAccount):
        key = OkxKey(
            account.api_key.get_secret_value(),
            account.api_secret.get_secret_value(),
            account.passphrase.get_secret_value(),
        )
        return OkxConnector(
            account.id,
            key,
            instrument_types=account.instrument_types,
            currency=account.currency,
            reads_orders=any(bot.account == account.id and bot.order_tag for bot in config.bots),
            is_demo=account.mode == "demo",
            base_url=account.base_url,
            now=now,
            patience=patience,
        )
    if isinstance(account, TwsAccount):
        return IbkrTws(
            account.id,
            TwsAddress(*account.address),
            broker_account=account.broker_account,
            timezone=account.timezone,
            now=now,
            patience=patience,
        )
    if isinstance(account, CcxtAccount):
        return _exchange_source(account, config, now, patience)
    days = calendar(account.calendar)
    if account.files is not None:
        return IbkrFlexFiles(
            account.id,
            patterns=[str(config.folder / account.files)],
            calendar=days,
            broker_account=account.broker_account,
            most_bytes=patience.most_bytes,
        )
    if account.token is None or account.query_id is None:
        raise ConfigError(
            f"{config.path}: accounts.{account.id}: needs query_id and token: set both"
        )
    return IbkrFlex(
        account.id,
        token=account.token.get_secret_value(),
        query_id=account.query_id,
        state_dir=config.state,
        calendar=days,
        broker_account=account.broker_account,
        base_url=account.base_url or BASE_URL,
        now=now,
        patience=patience,
    )


def _exchange_source(
    account: CcxtAccount, config: Config, now: Clock, patience: RetryPolicy
) -> Connector:
    """Return the connector of an account at an exchange that ccxt supports.

    Raises ConfigError where the exchange needs a key that is not configured.
    """
    source = CcxtExchange(
        account.id,
        ExchangeKey(
            _written(account.api_key),
            _written(account.api_secret),
            _written(account.passphrase),
            account.wallet_address or "",
        ),
        ExchangeSettings(
            account.venue,
            account.type,
            account.sub_type,
            account.currency,
            is_demo=account.mode == "demo",
            base_url=account.base_url,
        ),
        symbols=account.symbols,
        owned=_owned(account, config),
        now=now,
        patience=patience,
    )
    if lacking := source.lacks():
        raise ConfigError(
            f"{config.path}: accounts.{account.id}: {account.venue} needs {', '.join(lacking)}"
        )
    return source


def _owned(account: Account, config: Config) -> list[str]:
    """Return the instruments that bots of an account own."""
    return [name for bot in config.bots if bot.account == account.id for name in bot.instruments]


def _written(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def books_source(
    bot: Bot,
    config: Config,
    now: Clock,
    is_wanted: Callable[[str], bool],
    *,
    unknown: Unknown = NOT_ASKED_FOR,
    scratch: Path | None = None,
    above: Above | None = None,
) -> Connector:
    """Return the connector of one bot database, limited to the wanted tables.

    `above` configures partial reads by watermark; without it the tables are always read whole.
    `unknown` is the message for a database without any wanted table: what is wrong, and the remedy.

    Raises ConfigError for an unknown kind of bot database.
    """
    try:
        return books_at(
            bot.database,
            config.folder,
            now,
            is_wanted,
            unknown=unknown,
            bot=bot.id,
            password=_written(bot.database_password),
            scratch=scratch,
            above=above,
            limits=config.recon.limits,
        )
    except ConfigError as error:
        raise ConfigError(f"{config.path}: bots.{bot.id}.database: {error}") from None


def books_at(  # noqa: PLR0913 - each is one thing that a kind of bot database may need
    url: str,
    folder: Path,
    now: Clock,
    is_wanted: Callable[[str], bool],
    *,
    unknown: Unknown = NOT_ASKED_FOR,
    bot: str = "books",
    password: str = "",
    scratch: Path | None = None,
    above: Above | None = None,
    limits: Limits = Limits(),
) -> Connector:
    """Return the connector of the bot database at a URL. A relative path is relative to `folder`.

    Raises ConfigError for an unknown kind of bot database.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme == "sqlite":
        path = books_path(url, folder)
        return SqliteDatabase(
            bot,
            path,
            now=now,
            scratch=scratch,
            is_wanted=is_wanted,
            unknown=unknown,
            above=above,
            limits=limits,
        )
    reader: Reader
    if separator and scheme in _FILES:
        reader = _files(url, folder, limits)
    elif separator and scheme == "postgresql":
        reader = PostgresReader(url, password, limits)
    else:
        raise ConfigError(
            'use "sqlite:///path" (relative to the file) or "sqlite:////absolute/path"; or '
            f'{", ".join(_FILES)} in place of sqlite; or "postgresql://user@host/database"'
        )
    return WholeBooks(
        bot, reader, now=now, is_wanted=is_wanted, unknown=unknown, limit_s=limits.seconds
    )


def database_of(bot: Bot, config: Config) -> str:
    """Return the identity of a bot database: equal for two spellings of the same database.

    For a file it is the real path. For a PostgreSQL URL it is the host, the port, the database and
    the options that choose a schema. The user is left out: several users may read the same tables.
    """
    scheme, _, _ = bot.database.partition("://")
    if scheme != "postgresql":
        written, _, table = bot.database.rpartition("#")
        if scheme == "sqlite" or not written or not table.replace("_", "").isalnum():
            written, table = bot.database, ""
        return f"{scheme}:{os.path.realpath(books_path(written, config.folder))}#{table}"
    parts = urlsplit(bot.database)
    query = parse_qs(parts.query)
    # libpq tries several hosts in turn: all of them, with their ports, are part of the identity.
    found = _HOST.fullmatch(parts.netloc.rpartition("@")[2].lower())
    host, port = (found[1].strip("[]"), found[2]) if found else (parts.netloc, "")
    host = host or ",".join(query.get("host", []))
    host = {"localhost": "127.0.0.1"}.get(host, host)
    port = port or ",".join(query.get("port", ["5432"]))
    name = parts.path.removeprefix("/") or ",".join(query.get("dbname", []))
    return f"{scheme}:{host}:{port}/{unquote(name)}#{','.join(query.get('options', []))}"


_HOST = re.compile(r"(\[[^\]]*\]|[^:]*):?(.*)", re.DOTALL)
"""A host and the text after its colon."""

_FILES: dict[str, tuple[Parse, tuple[str, ...]]] = {
    "csv": (csv_files.parse_csv, csv_files.SUFFIXES),
    "parquet": (parquet_files.parse_parquet, parquet_files.SUFFIXES),
    "json": (json_files.parse_json, json_files.SUFFIXES),
}
"""The reader and the file name suffixes of each kind of files."""


def _files(url: str, folder: Path, limits: Limits) -> FileReader:
    """Return the reader of the files at a URL. `#name` at its end names their table."""
    parse, suffixes = _FILES[url.partition("://")[0]]
    written, _, table = url.rpartition("#")
    if not written or not table.replace("_", "").isalnum():
        written, table = url, ""
    return FileReader(books_path(written, folder), parse, suffixes, table or None, limits)


def books_path(url: str, folder: Path) -> Path:
    """Return the path in a URL, after its three slashes. A relative path is relative to `folder`.

    The path is taken verbatim, `?` and `#` included. Its %-escapes are decoded only where the path
    as written does not exist.
    """
    written = url.partition("://")[2].removeprefix("/")
    path = folder / written
    if os.path.exists(path) or "%" not in written:  # noqa: PTH110 - Path's raises where closed
        return path
    return folder / unquote(urlsplit(f"//x/{written}").path.removeprefix("/"))
