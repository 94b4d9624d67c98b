"""The seed alone decides what is done."""

import pytest

from chaos.faults import FAULTS
from chaos.schedule import SHORT, chance, schedule


def test_the_same_seed_does_the_same_in_the_same_order() -> None:
    assert schedule(7) == schedule(7)
    assert chance(7, "kill web").random() == chance(7, "kill web").random()


def test_another_seed_does_it_otherwise() -> None:
    assert schedule(7) != schedule(8)
    assert chance(7, "kill web").random() != chance(8, "kill web").random()
    assert chance(7, "kill web").random() != chance(7, "kill broker").random()


def test_the_long_run_does_everything_once() -> None:
    assert sorted(schedule(1)) == sorted(FAULTS)


def test_the_short_run_does_some_of_it() -> None:
    assert set(schedule(1, short=True)) == set(SHORT) < set(FAULTS)


def test_a_fault_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match=r"no fault is called 'flood'; there are:\n") as refusal:
        schedule(1, only=["flood"])
    assert str(refusal.value).splitlines()[1:] == [f"  '{name}'" for name in FAULTS]
