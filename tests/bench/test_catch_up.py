"""What is made of a catch-up that was watched."""

from dataclasses import replace

import pytest

from bench.catch_up import CaughtUp, as_measures
from bench.usage import Usage
from jobs.submit import MANY


def caught_up(first_batch: tuple[float, int], half: tuple[float, int] = (12.0, 500)) -> CaughtUp:
    return CaughtUp(1_000, 20.0, 8.0, first_batch, half, (5.0, 10.0), Usage(30.0, 2**30, 2**29))


def test_the_rate_after_the_first_batch_is_that_of_the_others() -> None:
    assert caught_up((10.0, 400)).steady == pytest.approx(60)


def test_one_batch_has_no_rate_after_it() -> None:
    assert caught_up((20.0, 1_000)).steady is None
    assert "x.steady" not in {one.name for one in as_measures("x", caught_up((20.0, 1_000)))}


def test_the_second_half_is_set_against_the_first_without_the_first_batch() -> None:
    assert caught_up((8.0, 100), half=(12.0, 500)).slower == pytest.approx((8 / 500) / (4 / 400))
    assert caught_up((20.0, 1_000), half=(20.0, 1_000)).slower is None
    assert caught_up((12.0, 600), half=(12.0, 600)).slower is None


def test_cost_is_for_a_million_facts_and_the_rate_from_the_start() -> None:
    found = {one.name: one.value for one in as_measures("x", caught_up((10.0, 400)))}
    assert found == pytest.approx(
        {
            "x.overall": 50,
            "x.steady": 60,
            "x.first_output": 8,
            "x.cpu": 30_000,
            "x.start_up": 5,
            "x.cpu_after_start_up": 20_000,
            "x.peak_memory": 1_024,
        }
    )


def test_a_floor_has_none_itself() -> None:
    assert {one.floor for one in as_measures("floor", caught_up((10.0, 400)))} == {""}
    floors = {one.floor for one in as_measures("x", caught_up((10.0, 400)))}
    assert floors == {"", "floor.overall", "floor.cpu", "floor.cpu_after_start_up"}


def test_of_few_facts_it_is_said_that_a_job_takes_them_interpreted() -> None:
    few = caught_up((10.0, 400))
    said = {one.name for one in as_measures("x", few, few.way) if "interpreted" in one.how}
    assert said == {"x.overall", "x.cpu"}
    assert replace(few, facts=MANY).way == ""
