"""The fleet of the story: two accounts, four bots, forty days, and what is planted in them.

It is the same each time but for its dates, which end with the as-of date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from recon.core.calendars import calendar, last_ended
from recon.core.records import BotStatus
from recon.demo.story import basket_statement, btc_quantum
from recon.demo.story.basket import Basket, basket
from recon.demo.story.bot_databases import OWN_MAPPING, TradeRow, write_freqtrade, write_own_vault
from recon.demo.story.freqtrade_bots import eth_honest, sol_forgetful
from recon.demo.story.round_trips import RoundTrip, trade_on
from recon.demo.venues.okx_account import OkxAccount

DAYS = 40
CALENDAR = "XNYS"
DEPOSIT = Decimal(50_000)
SOL_GAIN = Decimal("1.37")
"""What the open position's mark lies above its entry."""
ZERO = Decimal(0)


class Planted(NamedTuple):
    """What must come out for one bot over the whole window, money in its account's currency."""

    status: BotStatus
    claimed: Decimal
    gross: Decimal
    fees: Decimal
    funding: Decimal
    causes: Mapping[str, Decimal]
    """What the difference is made of; nothing else may be."""

    @property
    def net(self) -> Decimal:
        """The truth."""
        return self.gross + self.fees + self.funding


@dataclass(frozen=True, slots=True)
class Fleet:
    """All that happened, from `since` through `as_of`."""

    since: date
    as_of: date
    btc: list[RoundTrip]
    eth: list[RoundTrip]
    sol: list[RoundTrip]
    basket: Basket

    def okx_account(self) -> OkxAccount:
        """Return the OKX account after everything that its three bots did."""
        account = OkxAccount()
        account.deposit("USDT", DEPOSIT, _midnight(self.since) + timedelta(hours=1))
        trade_on(account, [*self.btc, *self.eth, *self.sol])
        still_open = self.sol[-1]
        account.mark(still_open.instrument, still_open.entry.average + SOL_GAIN)
        return account

    def flex_statement(self, now: datetime) -> str:
        """Return the Flex statement of the stock account, generated `now`."""
        return basket_statement.statement(self.basket, now)

    def btc_rows(self) -> list[TradeRow]:
        """Return what btc-quantum wrote to its vault."""
        return btc_quantum.record_trade(self.btc)

    def write_books(self, vaults: Path, mapping: Path) -> None:
        """Write every bot's books into `vaults`, and the mapping of one's own into `mapping`."""
        write_own_vault(vaults / "btc-quantum.sqlite", self.btc_rows())
        write_freqtrade(
            vaults / "eth-honest.sqlite", self.eth, strategy="EthReversion", books_funding=True
        )
        write_freqtrade(
            vaults / "sol-forgetful.sqlite", self.sol, strategy="SolTrend", books_funding=False
        )
        write_own_vault(vaults / "basket.sqlite", self.basket.vault_rows())
        (mapping / "trades.sql").write_text(OWN_MAPPING, encoding="utf-8")

    def planted(self) -> Mapping[str, Planted]:
        """Return what must come out, by bot."""
        btc, eth, sol = (_truth(trips) for trips in (self.btc, self.eth, self.sol))
        gross, realised = self.basket.gross, self.basket.realised
        return {
            "btc-quantum": Planted(
                "diverged",
                sum((row.pnl for row in self.btc_rows()), ZERO),
                *btc,
                {"fee_missing": -btc_quantum.FEES, "price": btc_quantum.MISSED},
            ),
            "eth-honest": Planted("agreed", sum(eth, ZERO), *eth, {}),
            "sol-forgetful": Planted(
                "diverged", sol[0] + sol[1], *sol, {"funding_missing": -sol[2]}
            ),
            "basket": Planted("agreed", realised, gross, realised - gross, ZERO, {}),
        }


def build_fleet(as_of: date) -> Fleet:
    """Return the fleet whose forty days end with `as_of`."""
    since = as_of - timedelta(days=DAYS)
    end = _midnight(as_of) + timedelta(days=1)
    return Fleet(
        since=since,
        as_of=as_of,
        btc=btc_quantum.btc_quantum(end - timedelta(days=btc_quantum.DAYS)),
        eth=eth_honest(end),
        sol=sol_forgetful(end),
        basket=basket(calendar(CALENDAR), since, as_of),
    )


def story_day(now: datetime) -> date:
    """Return the last UTC day whose own session, and whose session in New York, has ended."""
    day, stocks = last_ended(calendar(None), now).date, calendar(CALENDAR)
    while stocks.session(day).end > now:
        day -= timedelta(days=1)
    return day


def _truth(trips: Iterable[RoundTrip]) -> tuple[Decimal, Decimal, Decimal]:
    """Return gross, fees and funding of the trips that are closed."""
    closed = [trip for trip in trips if trip.exit is not None]
    return (
        sum((trip.gross for trip in closed), ZERO),
        sum((trip.fees for trip in closed), ZERO),
        sum((trip.funding_paid for trip in closed), ZERO),
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
