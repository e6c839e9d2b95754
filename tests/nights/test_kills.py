"""A night that is killed anywhere, as often as it may be: run again, it is as if it never was."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator

import pytest

from recon.paging.delivery import NIGHTS
from tests.conftest import seeds, some_of
from tests.support.fleet import AS_OF, NOW
from tests.support.killed_run import STEPS, Death, drawn, night_in_a_process
from tests.support.two_nights import Story, left_behind, log, two_nights

SEEDS = seeds(1, 5)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with two_nights(tmp_path_factory.mktemp("killed")) as told:
        yield told


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(600)
def test_a_night_killed_anywhere_and_run_again_publishes_what_an_undisturbed_one_does(
    story: Story, seed: int
) -> None:
    chance = random.Random(seed)
    story.afresh()
    deaths = [drawn(chance, story.counted, story.seconds) for _ in range(chance.randint(1, 3))]
    for death in deaths:
        status = night_in_a_process(story.config, NOW, death)
        assert status in {-9, 0}, (seed, deaths, log(story.work))
    assert night_in_a_process(story.config, NOW) == 0, (seed, deaths, log(story.work))
    assert left_behind(story.work) == story.due, (seed, deaths)
    keys = {one["key"] for one in story.pager.took}
    assert len([key for key in keys if key.startswith(NIGHTS)]) <= 1, (seed, deaths)


@pytest.mark.parametrize(
    "step", some_of(2, ["open_verified", "manifest", "commit_manifest", "checkpoint", "publish"])
)
def test_the_first_night_of_all_is_killed_and_run_again(story: Story, step: str) -> None:
    story.afresh()
    shutil.rmtree(story.state)
    assert night_in_a_process(story.config, NOW, Death(at_step=step)) == -9
    assert night_in_a_process(story.config, NOW) == 0, log(story.work)
    left = left_behind(story.work)
    assert {name: left[name] for name in ("published", "unfinished")} == {
        name: story.due[name] for name in ("published", "unfinished")
    }
    assert left["sessions"] == [(AS_OF.isoformat(), 1)]


def test_every_step_is_there_to_be_killed_in(story: Story) -> None:
    assert {name for _, name in story.counted["steps"]} == set(STEPS)
    assert AS_OF.isoformat() in [session for session, _ in story.due["sessions"]]
