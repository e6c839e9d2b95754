"""The plan of one run: its as-of session, accounts and windows, bots and their databases."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from connectors.bot_databases.snapshot import Unknown
from connectors.protocol import Connector
from connectors.retry import RetryPolicy
from recon.bot_databases.mappings import BooksMapping, find_mapping, mapping_key
from recon.bot_databases.run_mapping import DEFAULT_LIMITS, MappingLimits
from recon.config.settings import Account, Bot, Config, SharedDatabase
from recon.core.calendars import Calendar, calendar, last_ended, window
from recon.core.records import Clock, Window
from recon.core.watermarks import Above
from recon.errors import ConfigError, UsageError
from recon.fetch.connectors_for import account_source, books_source, database_of


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """One account: its settings, its sessions, its window and where its evidence comes from."""

    account: Account
    days: Calendar
    window: Window
    source: Connector


@dataclass(frozen=True, slots=True)
class BotPlan:
    """One bot: its settings, the connector of its database, and the mapping that reads it."""

    bot: Bot
    source: Connector
    mapping: BooksMapping
    limits: MappingLimits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, before anything has been fetched."""

    as_of: date
    accounts: tuple[AccountPlan, ...]
    bots: tuple[BotPlan, ...]
    shared: tuple[SharedDatabase, ...] = ()
    """All configured bots whose database another bot names as well."""

    def only(self, accounts: Iterable[str]) -> Plan:
        """Return the plan of only these accounts and their bots."""
        names = set(accounts)
        return replace(
            self,
            accounts=tuple(plan for plan in self.accounts if plan.account.id in names),
            bots=tuple(plan for plan in self.bots if plan.bot.account in names),
        )

    def of(self, account: str) -> AccountPlan:
        """Return the plan of one account."""
        return next(plan for plan in self.accounts if plan.account.id == account)


def assert_since(account: Account, path: Path, now: Clock) -> None:
    """Raise ConfigError for a `since` in the future, or before the account's calendar begins.

    Clocks and time zones get one day of grace: an account may begin today.
    """
    today, key = now().date(), f"{path}: accounts.{account.id}.since"
    if account.since > today + timedelta(days=1):
        raise ConfigError(
            f"{key}: {account.since} is in the future, as today is {today}: write the date of the "
            "first session to reconcile, today at the latest"
        )
    try:
        calendar(account.calendar).session_on_or_after(account.since)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def make_plan(
    config: Config,
    *,
    as_of: date | None,
    accounts: Sequence[str],
    now: Clock,
    patience: RetryPolicy | None,
) -> Plan:
    """Return the plan of a run over `accounts` (none: all of them) as of a session.

    Raises UsageError for an account that is not configured or a session that has not ended, and
    ConfigError for an unknown mapping, calendar or kind of bot database.
    """
    for account in config.accounts:
        assert_since(account, config.path, now)
    chosen = _chosen(config, accounts)
    day = as_of or last_day(chosen, now)
    plans = tuple(_plan(account, config, day, now, patience) for account in chosen)
    windows = {plan.account.id: plan.window for plan in plans}
    bots = tuple(
        _bot_plan(bot, config, now, windows[bot.account])
        for bot in config.bots
        if bot.account in windows
    )
    return Plan(day, plans, bots, tuple(shared_databases(config)))


def shared_databases(config: Config) -> Iterator[SharedDatabase]:
    """Yield the bots whose database another bot names as well."""
    groups: dict[str, list[Bot]] = defaultdict(list)
    for bot in config.bots:
        groups[database_of(bot, config)].append(bot)
    for database, bots in groups.items():
        readings = Counter(mapping_key(bot.mapping, config.folder) for bot in bots)
        for bot in bots if len(bots) > 1 else ():
            is_alone = readings[mapping_key(bot.mapping, config.folder)] == 1
            yield SharedDatabase(database, bot, has_own_mapping=is_alone)


def _chosen(config: Config, names: Sequence[str]) -> list[Account]:
    known = {account.id for account in config.accounts}
    if strange := [name for name in names if name not in known]:
        raise UsageError(
            f"--account {strange[0]}: there is no such account in {config.path}: "
            f"use one of {', '.join(sorted(known))}"
        )
    return [account for account in config.accounts if not names or account.id in names]


def last_day(accounts: Sequence[Account], now: Clock) -> date:
    """Return the latest date by which a session of every account has ended: the default as-of date.

    Shortly after midnight UTC, New York's trade date is still open: the result is then one date
    earlier. The result never decreases as time passes.
    """
    calendars = [calendar(account.calendar) for account in accounts]
    day = max(last_ended(days, now()).date for days in calendars)
    while any(days.session(day).end > now() for days in calendars):
        day -= timedelta(days=1)
    return day


def active_accounts(config: Config, as_of: date) -> list[str]:
    """Return the accounts whose window has begun by the as-of session."""
    return [
        account.id
        for account in config.accounts
        for days in [calendar(account.calendar)]
        if days.session_on_or_after(account.since).date <= days.session(as_of).date
    ]


def _plan(
    account: Account, config: Config, as_of: date, now: Clock, patience: RetryPolicy | None
) -> AccountPlan:
    days = calendar(account.calendar)
    session = days.session(as_of)
    if session.end > now():
        raise UsageError(
            f"--as-of {as_of}: the session of {account.id} ends {session.end:%Y-%m-%d %H:%M} "
            "UTC, and has not ended yet: name an earlier session"
        )
    source = account_source(account, config, now, patience)
    return AccountPlan(account, days, window(days, account.since, as_of), source)


def mapping_of(bot: Bot, config: Config) -> BooksMapping:
    """Return the mapping that reads a bot's database. Raises ConfigError, which names the key."""
    try:
        return find_mapping(bot.mapping, config.folder)
    except ConfigError as error:
        raise ConfigError(f"{config.path}: bots.{bot.id}.mapping: {error}") from None


def mapping_limits(config: Config) -> MappingLimits:
    """Return the limits of each mapping. It spills within the state folder."""
    limits = config.recon.limits
    return MappingLimits(limits.mapping_time_s, limits.mapping_memory_mb, config.state / "scratch")


def _bot_plan(bot: Bot, config: Config, now: Clock, whole: Window) -> BotPlan:
    mapping = mapping_of(bot, config)
    source = books_source(
        bot,
        config,
        now,
        mapping.reads,
        unknown=Unknown(*mapping.refusal),
        scratch=config.state / "scratch",
        above=Above(whole.start, mapping.watermarks),
    )
    return BotPlan(bot, source, mapping, mapping_limits(config))
