"""What tests of answered pages share: a desk with a ledger, a Telegram, a PagerDuty and a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recon.control.breaks import Break
from recon.control.ledger import Ledger
from recon.core.page import Page
from recon.core.records import Severity
from recon.paging.acknowledgements import ReplyPoller
from recon.paging.channels import Recipient
from recon.paging.delivery import deliver
from recon.paging.notifiers import parse_channel
from tests.support.servers.answering import REST_TOKEN, BotApi, PagerDuty, serving
from tests.support.servers.channels import pagerduty_url, telegram_url
from tests.support.sightings import off_by, sighting

MINUTE = timedelta(minutes=1)
STRANGER = 666


@dataclass
class Desk:
    """A ledger, both services, and a clock that a test moves on."""

    folder: Path
    ledger: Ledger
    bot: BotApi
    duty: PagerDuty
    channels: list[Recipient]
    shift: timedelta = timedelta()
    notes: list[str] = field(default_factory=list)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def page(self, key: str = "night-a", severity: Severity = "major", **more: Any) -> None:
        """Page, and let it arrive."""
        self.ledger.enqueue(Page(key, f"{key} is off", "5.00", severity, **more), self.now())
        self.send()

    def page_of_breaks(self, *bots: str) -> None:
        found = [off_by("5.00", bot=bot) for bot in bots]
        with self.ledger.step():
            self.see(*found)
            subjects = {each.id: "okx" for each in found}
            page = Page("night-a", "off", "5.00", "major", subjects=subjects)
            self.ledger.enqueue(page, self.now())
        self.send()

    def see(self, *found: Break) -> None:
        seen = sighting(self.now().date(), found)
        self.ledger.record_breaks(replace(seen, at=self.now()))

    def send(self) -> None:
        deliver(self.folder, self.ledger, self.channels, self.now, self.notes.append, deadline_s=10)

    def hear(self, after: timedelta = MINUTE) -> list[str]:
        """Listen, a minute later."""
        self.shift += after
        with ReplyPoller(
            self.ledger, self.channels, self.now, self.notes.append, deadline_s=3
        ) as one:
            return one.poll(waits=True)

    def status(self, key: str = "night-a") -> str:
        row = self.ledger._db.execute("select status from incidents where key = ?", (key,))
        return str(row.fetchone()[0])

    def who(self) -> list[tuple[str, str]]:
        """Return who acknowledged breaks, by the journal, and with which note."""
        rows = self.ledger._db.execute(
            "select who, why from journal where act = 'acknowledge' order by entry"
        )
        return [(row["who"], row["why"]) for row in rows]


@contextmanager
def serving_desk(folder: Path) -> Iterator[Desk]:
    """Give a desk whose channels are a Telegram and a PagerDuty; its notes have no secret."""
    with (
        serving(BotApi()) as bot,
        serving(PagerDuty()) as duty,
        Ledger(folder / "control.sqlite") as ledger,
    ):
        channels = [
            Recipient("chat", "chat", parse_channel(telegram_url(), bot.base), "minor"),
            Recipient(
                "duty", "duty", parse_channel(pagerduty_url(), duty.base, REST_TOKEN), "minor"
            ),
        ]
        made = Desk(folder, ledger, bot, duty, channels)
        bot.now = duty.now = made.now
        yield made
        assert "canary" not in "".join(made.notes)
