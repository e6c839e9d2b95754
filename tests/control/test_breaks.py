"""Breaks under runs and persons, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.control.breaks import Break
from recon.control.ledger import Ledger
from recon.control.sign_offs import Signature
from recon.errors import UsageError
from tests.support.sightings import BOTH, off_by, sighting, told

MONDAY, TUESDAY, WEDNESDAY = date(2026, 5, 11), date(2026, 5, 12), date(2026, 5, 13)
DAY = timedelta(days=1)
AT = datetime(2026, 5, 12, 9, 30, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "control.sqlite") as opened:
        yield opened


def acknowledge(ledger: Ledger, item: str) -> dict[str, Any]:
    return ledger.acknowledge(item, who="anna", user="ops", note="known", at=AT)


def resolve(ledger: Ledger, item: str) -> dict[str, Any]:
    return ledger.resolve(item, who="anna", user="ops", reason="booked", at=AT)


def test_a_break_keeps_its_identity_while_its_amount_changes(ledger: Ledger) -> None:
    [first] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    [second] = ledger.record_breaks(sighting(TUESDAY, [off_by("7.00")]))
    assert first["break"] == second["break"]
    assert (second["first_seen"], second["divergence"]) == ("2026-05-11", "7.00")


def test_a_break_is_cleared_when_its_bot_agrees_and_begins_anew_when_it_returns(
    ledger: Ledger,
) -> None:
    ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    assert ledger.record_breaks(sighting(TUESDAY, [])) == []
    [back] = ledger.record_breaks(sighting(WEDNESDAY, [off_by("5.00")]))
    assert (back["first_seen"], back["status"], back["reopened"]) == ("2026-05-13", "open", True)


def test_a_bot_that_could_not_be_judged_keeps_its_break(ledger: Ledger) -> None:
    ledger.record_breaks(sighting(MONDAY, [off_by("5.00"), off_by("2.00", "session")]))
    assert len(ledger.record_breaks(sighting(TUESDAY, [], judged=[]))) == 2


def test_a_run_again_of_the_same_night_changes_nothing(ledger: Ledger) -> None:
    once = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    end = ledger.journal_end()
    assert ledger.record_breaks(sighting(MONDAY, [off_by("5.00")])) == once
    assert ledger.journal_end() == end


def test_what_was_acknowledged_is_known_until_it_grows_beyond_the_tolerance(
    ledger: Ledger,
) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    shown = acknowledge(ledger, item["break"])
    assert (shown["status"], shown["last_action"]["by"], shown["last_action"]["reason"]) == (
        "acknowledged",
        "anna",
        "known",
    )
    assert shown["last_action"]["at"] == "2026-05-12T09:30:00+00:00"
    for amount in ("-6.00", "6.00", "4.00"):  # by no more than the bound, whatever the sign
        [item] = ledger.record_breaks(sighting(TUESDAY, [off_by(amount)]))
        assert item["status"] == "acknowledged"
        assert ledger.acknowledged([off_by(amount)]) == {("okx", "btc")}
    [item] = ledger.record_breaks(sighting(TUESDAY, [off_by("-6.01")]))
    assert (item["status"], item["reopened"]) == ("open", False)
    assert item["last_action"]["reason"] == "it has grown from 5.00 to -6.01"
    assert ledger.acknowledged([off_by("-6.01")]) == set()


def test_what_was_acknowledged_is_open_again_when_it_grows_graver_with_age(
    ledger: Ledger,
) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    assert item["severity"] == "minor"
    acknowledge(ledger, item["break"])
    [item] = ledger.record_breaks(sighting(MONDAY + 4 * DAY, [off_by("5.00")]))
    assert (item["age_sessions"], item["status"]) == (4, "acknowledged")
    [item] = ledger.record_breaks(sighting(MONDAY + 5 * DAY, [off_by("5.00")]))
    assert (item["severity"], item["status"]) == ("major", "open")
    assert item["last_action"]["reason"] == "its severity has risen from minor to major"
    acknowledge(ledger, item["break"])
    [item] = ledger.record_breaks(sighting(MONDAY + 6 * DAY, [off_by("5.00")]))
    assert item["status"] == "acknowledged"


def test_one_break_of_two_acknowledged_is_not_all_of_them(ledger: Ledger) -> None:
    found = [off_by("5.00"), off_by("5.00", "session", session="2026-05-11")]
    items = ledger.record_breaks(sighting(MONDAY, found))
    acknowledge(ledger, items[0]["break"])
    assert ledger.acknowledged(found) == set()
    acknowledge(ledger, items[1]["break"])
    assert ledger.acknowledged(found) == {("okx", "btc")}


def test_what_a_person_resolved_and_a_night_still_sees_never_ended(ledger: Ledger) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    assert resolve(ledger, item["break"])["status"] == "resolved"
    assert ledger.breaks() == []
    [item] = ledger.record_breaks(sighting(TUESDAY, [off_by("5.00")]))
    assert (item["status"], item["reopened"]) == ("open", True)
    assert (item["first_seen"], item["age_sessions"]) == ("2026-05-11", 1)


def test_what_a_person_resolved_and_a_night_does_not_see_is_cleared(ledger: Ledger) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    resolve(ledger, item["break"])
    ledger.record_breaks(sighting(TUESDAY, []))
    [item] = ledger.breaks(is_all=True)
    assert (item["status"], item["last_action"]["by"], item["last_action"]["reason"]) == (
        "cleared",
        "run of-2026-05-12",
        "the evidence agrees",
    )


def test_a_session_s_own_break_ends_with_it_and_says_why(ledger: Ledger) -> None:
    ledger.record_breaks(sighting(MONDAY, [off_by("5.00", "session", session="2026-05-11")]))
    ledger.record_breaks(sighting(TUESDAY, []))
    [item] = ledger.breaks(is_all=True)
    assert item["status"] == "cleared"
    assert "the window has the divergence of 2026-05-11" in item["last_action"]["reason"]


def test_a_break_is_named_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    found = [Break("okx", f"bot-{n}", "window", "5.00", "100", "1.00") for n in range(40)]
    judged = [("okx", item.bot) for item in found]
    ids = [row["break"] for row in ledger.record_breaks(sighting(MONDAY, found, judged))]
    shared = next(id_[0] for id_ in ids if sum(each[0] == id_[0] for each in ids) > 1)
    with pytest.raises(UsageError, match="write more of it") as caught:
        acknowledge(ledger, shared)
    named = [line.split()[0] for line in str(caught.value).splitlines()[1:]]
    assert sorted(named) == sorted(id_ for id_ in ids if id_.startswith(shared))
    length = next(n for n in range(1, 13) if len({each[:n] for each in ids}) == len(ids))
    for id_ in ids:
        assert acknowledge(ledger, id_[:length])["break"] == id_
        assert acknowledge(ledger, f" {id_.upper()}")["break"] == id_


@pytest.mark.parametrize("name", ["", "nonsense", "%", "_"])
def test_a_break_that_is_not_there_is_a_usage_error_that_lists_what_is(
    ledger: Ledger, name: str
) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    with pytest.raises(UsageError, match=f"  {item['break']}  btc window"):
        acknowledge(ledger, name)


def test_a_bot_that_is_called_like_a_break_says_nothing_of_it(ledger: Ledger) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    difference = {"account": "okx", "as_of": "2026-05-11", "amount": "1.00", "day": None}
    ledger.sign_off(item["break"], difference, Signature("anna", "ops", "old", AT))
    assert ledger.breaks() == [item]
    assert ledger.audit()[1] == []


def test_of_a_break_that_has_ended_there_is_nothing_to_say(ledger: Ledger) -> None:
    [item] = ledger.record_breaks(sighting(MONDAY, [off_by("5.00")]))
    ledger.record_breaks(sighting(TUESDAY, []))
    for act in (acknowledge, resolve):
        with pytest.raises(UsageError, match="is cleared"):
            act(ledger, item["break"])


# Random lives, against a reckoner that looks at all of the past each time.

AMOUNTS = ("1.50", "-2.40", "11.00", "-30.00", "130.00")
KINDS = ("window", "session")
Key = tuple[str, str]


@dataclass(frozen=True)
class Night:
    """A run as of a session: what it saw of each bot that it could judge."""

    session: date
    seen: dict[str, dict[str, str]]
    truth: str


@dataclass(frozen=True)
class Said:
    """What a person said of a break."""

    key: Key
    act: str


@dataclass
class Reckoned:
    """What a break must be."""

    status: str
    first_seen: date
    reopened: bool = False
    amount: str = ""
    truth: str = "0"
    age: int = 0
    known: tuple[int, Decimal] = field(default=(0, Decimal(0)))

    @property
    def grade(self) -> int:
        """0 minor, 1 major, 2 critical; the bound is 1."""
        size = abs(Decimal(self.amount))
        by_size = 0 if size <= 10 else 1 if size <= abs(Decimal(self.truth)) else 2
        return min(2, by_size + self.age // 5)


def reckon(past: list[Night | Said]) -> dict[Key, Reckoned]:
    state: dict[Key, Reckoned] = {}
    latest = date.min
    for event in past:
        if isinstance(event, Said):
            one = state[event.key]
            one.status = event.act
            one.known = (one.grade, abs(Decimal(one.amount)))
        elif event.session >= latest:
            latest = event.session
            _pass_night(state, event)
    return state


def _pass_night(state: dict[Key, Reckoned], night: Night) -> None:
    for bot, seen in night.seen.items():
        for key in ((bot, kind) for kind in KINDS):
            if key[1] in seen:
                one = state.setdefault(key, Reckoned("new", night.session))
                one.amount, one.truth = seen[key[1]], night.truth
                _meet(one, night.session)
            elif key in state:
                state[key].status = "cleared"
    for one in state.values():
        if one.status in {"open", "acknowledged"}:
            one.age = (night.session - one.first_seen).days
        grade, size = one.known
        is_worse = one.grade > grade or abs(Decimal(one.amount)) > size + 1
        if one.status == "acknowledged" and is_worse:
            one.status = "open"


def _meet(one: Reckoned, session: date) -> None:
    if one.status == "cleared":
        one.first_seen = session
    if one.status in {"cleared", "resolved"}:
        one.reopened = True
    if one.status != "acknowledged":
        one.status = "open"


seen_of_a_bot = st.dictionaries(st.sampled_from(KINDS), st.sampled_from(AMOUNTS))
nights = st.tuples(
    st.sampled_from([-1, 0, 1, 1, 1, 2, 6]),
    st.dictionaries(st.sampled_from([bot for _, bot in BOTH]), seen_of_a_bot),
    st.sampled_from(["0", "100"]),
)
acts = st.tuples(st.sampled_from(["acknowledged", "resolved"]), st.integers(0, 9))


@settings(max_examples=80)
@given(st.lists(nights | acts, min_size=4, max_size=20))
def test_any_nights_and_acts_leave_what_the_reckoner_says(steps: list[Any]) -> None:
    with TemporaryDirectory() as folder, Ledger(Path(folder) / "control.sqlite") as ledger:
        past: list[Night | Said] = []
        latest = MONDAY
        for number, step in enumerate(steps):
            if len(step) == 3:
                ahead, seen, truth = step
                event: Night | Said = Night(latest + ahead * DAY, seen, truth)
                _play_night(ledger, event, f"run-{number}")
                latest = max(latest, latest + ahead * DAY)
            else:
                standing = ledger.breaks()
                if not standing:
                    continue
                one = standing[step[1] % len(standing)]
                (acknowledge if step[0] == "acknowledged" else resolve)(ledger, one["break"])
                event = Said((one["bot"], one["kind"]), step[0])
            past.append(event)
            _check(ledger, reckon(past))


def _play_night(ledger: Ledger, night: Any, run: str) -> None:
    found = [
        off_by(amount, kind, bot=bot, truth=night.truth)
        for bot, seen in night.seen.items()
        for kind, amount in seen.items()
    ]
    judged = [("okx", bot) for bot in night.seen]
    ledger.record_breaks(sighting(night.session, found, judged))
    told(ledger, night.session, run)


def _check(ledger: Ledger, reckoned: dict[Key, Reckoned]) -> None:
    shown = {(row["bot"], row["kind"]): row for row in ledger.breaks(is_all=True)}
    assert shown.keys() == reckoned.keys()
    for key, one in reckoned.items():
        row = shown[key]
        assert (row["status"], row["first_seen"], row["reopened"], row["divergence"]) == (
            one.status,
            one.first_seen.isoformat(),
            one.reopened,
            one.amount,
        )
        if one.status in {"open", "acknowledged"}:
            assert row["severity"] == ("minor", "major", "critical")[one.grade]
            assert row["age_sessions"] == one.age
    audit, disagreements = ledger.audit()
    assert (audit.altered, disagreements) == (None, [])
