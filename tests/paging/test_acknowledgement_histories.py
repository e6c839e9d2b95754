"""Those who listen are killed, again and again: each answer is dealt with once all the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recon.control.ledger import Ledger
from recon.core.page import Page
from recon.paging.acknowledgements import ReplyPoller
from recon.paging.channels import Recipient
from recon.paging.notifiers import parse_channel
from tests.support.answers import STRANGER
from tests.support.servers.answering import BotApi, loses_the_reply, says, serving
from tests.support.servers.channels import telegram_url
from tests.support.sightings import off_by, sighting

LIVES = int(os.environ.get("RECON_LIVES", "6"))

LIFE = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from recon.control.ledger import Ledger
from recon.paging import acknowledgements
from recon.paging.channels import Recipient
from recon.paging.acknowledgements import ReplyPoller
from recon.paging.notifiers import parse_channel

acknowledgements.POLL_AGAIN_AFTER = acknowledgements.timedelta(seconds=0.05)
acknowledgements.RETRY_AFTER = acknowledgements.POLL_AGAIN_AFTER
state, chat, base = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
channels = [Recipient("chat", "chat", parse_channel(chat, base), "minor")]
with Ledger(state / "control.sqlite") as ledger:
    print("ready", flush=True)
    with ReplyPoller(ledger, channels, lambda: datetime.now(UTC), print, deadline_s=0.5) as poller:
        while True:
            poller.poll(waits=True)
            time.sleep(0.02)
"""


@contextmanager
def life(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a process that listens without end; kill it at the end of the block."""
    child = subprocess.Popen(
        [sys.executable, "-c", LIFE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def too_many_briefly(handler: Any) -> None:
    handler.reply(429, {"ok": False, "parameters": {"retry_after": 0}})


@dataclass
class Lives:
    """What a random life writes to a bot, and what of it has to be dealt with."""

    bot: BotApi
    ledger: Ledger
    chance: random.Random
    bots: list[str] = field(default_factory=list)
    ours: set[str] = field(default_factory=set)
    theirs: set[str] = field(default_factory=set)

    def night(self) -> None:
        """Page a few bots more, each an incident of its own."""
        fresh = [f"bot{len(self.bots) + n}x" for n in range(8)]
        self.bots += fresh
        at = datetime.now(UTC)
        found = [off_by("5.00", bot=bot) for bot in self.bots]
        seen = sighting(at.date(), found, [("okx", bot) for bot in self.bots])
        with self.ledger.step():
            self.ledger.record_breaks(replace(seen, at=at))
            for bot in fresh:
                subjects = {off_by("5.00", bot=bot).id: "okx"}
                page = Page(f"night-{bot}", "off", "5", "major", subjects=subjects)
                self.ledger.enqueue(page, at)

    def write(self) -> None:
        """Have somebody write something, and the service fail now and then."""
        draw, note = self.chance.random(), f"note{len(self.ours) + len(self.theirs)}"
        key = f"night-{self.chance.choice(self.bots)}"
        if draw < 0.25:
            self.bot.write(f"ack {note}", to=self.bot.posted(f"off\n\n5\n\nReply /ack {key}"))
        elif draw < 0.5:
            self.bot.write(f"/ack {key} {note}")
        elif draw < 0.75:
            self.bot.write(f"ack {key} {note}", chat=STRANGER)
        elif draw < 0.85:
            self.bot.update(edited_message=self.bot.posted(f"ack {key} {note}"))
        else:
            self.bot.update(gap=self.chance.randint(1, 50), poll={"id": "1"})
        (self.ours if draw < 0.5 else self.theirs).add(note)
        faults = [loses_the_reply, too_many_briefly, says(500, b""), says(200, {"ok": False})]
        if self.chance.random() < 0.2:
            with self.bot.lock:
                self.bot.faults.append(self.chance.choice(faults))


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


@pytest.mark.timeout(90 + 8 * LIVES)
def test_killed_at_any_moment_each_answer_is_dealt_with_once_and_no_stranger_s_ever(
    tmp_path: Path,
) -> None:
    """Random updates, faults, kills and nights: the journal has each acknowledgement once."""
    seed = random.randrange(2**32)
    with serving(BotApi()) as bot, Ledger(tmp_path / "control.sqlite") as ledger:
        ledger.enqueue(Page("unanswered", "off", "5", "major"), datetime.now(UTC))
        lives = Lives(bot, ledger, random.Random(seed))
        for _ in range(LIVES):
            lives.night()
            with life(str(tmp_path), telegram_url(), bot.base) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == "ready\n"
                until = time.monotonic() + lives.chance.uniform(0.2, 2.5)
                while time.monotonic() < until:
                    lives.write()
                    time.sleep(lives.chance.uniform(0, 0.2))
        bot.faults.clear()
        bot.write("the end")
        channels = [Recipient("chat", "chat", parse_channel(telegram_url(), bot.base), "minor")]
        with ReplyPoller(ledger, channels, tomorrow, lambda _: None) as poller:
            db = ledger._db
            for _ in range(50):  # a slow machine does not read all of it before one deadline
                poller.poll(waits=True)
                [mark] = [row["mark"] for row in db.execute("select mark from heard")]
                if mark is not None and int(mark) > bot.next_update:
                    break
        noted = [row["why"] for row in db.execute("select * from journal")]
        noted = [why for why in noted if why in lives.ours | lives.theirs]
        marks = [int(row["mark"]) for row in db.execute("select mark from heard")]
    assert len(lives.ours) > LIVES, f"seed {seed}"
    assert sorted(noted) == sorted(lives.ours), f"seed {seed}"
    assert marks == [bot.next_update + 1], f"seed {seed}"
