"""Token buckets: bursts, refills, and memory that stays bounded whoever asks."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import limits
from service.limits import TokenBuckets, Turn, network_of


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(buckets: TokenBuckets, key: str, times: int) -> int:
    return sum(buckets.take(key) == 0 for _ in range(times))


def test_a_burst_goes_through_and_no_more(clock: Clock) -> None:
    assert taken(TokenBuckets(rate=2, burst=5, clock=clock), "ada", 50) == 5


def test_tokens_come_back_at_the_rate(clock: Clock) -> None:
    buckets = TokenBuckets(rate=2, burst=5, clock=clock)
    taken(buckets, "ada", 5)
    clock.now += 1.5
    assert taken(buckets, "ada", 50) == 3
    clock.now += 1_000
    assert taken(buckets, "ada", 50) == 5


def test_whoever_waits_as_told_gets_through_and_not_before(clock: Clock) -> None:
    buckets = TokenBuckets(rate=2, burst=1, clock=clock)
    buckets.take("ada")
    wait = buckets.take("ada")
    assert wait == pytest.approx(0.5)
    clock.now += wait - 0.01
    assert buckets.take("ada") > 0
    clock.now += 0.02
    assert buckets.take("ada") == 0


def test_one_users_haste_is_nothing_to_another(clock: Clock) -> None:
    buckets = TokenBuckets(rate=1, burst=3, clock=clock)
    taken(buckets, "ada", 50)
    assert taken(buckets, "grace", 3) == 3


def test_who_is_refused_is_not_put_off_further(clock: Clock) -> None:
    buckets = TokenBuckets(rate=1, burst=1, clock=clock)
    taken(buckets, "ada", 1_000)
    clock.now += 1
    assert buckets.take("ada") == 0


def test_a_million_names_take_the_room_of_the_last_ones(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEYS_MAX", 1_000)
    buckets = TokenBuckets(rate=1, burst=1, clock=clock)
    for number in range(50_000):
        buckets.take(f"user-{number}")
    assert len(buckets) == 1_000
    assert buckets.take("user-49999") > 0


def test_a_crowd_does_not_make_a_hasty_user_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEYS_MAX", 10)
    buckets = TokenBuckets(rate=0.001, burst=50, clock=clock)
    passed = 0
    for number in range(200):
        passed += buckets.take("eve") == 0
        buckets.take(f"user-{number}")
    assert passed == 50


@given(st.lists(st.floats(0, 3), max_size=60))
def test_never_more_than_burst_and_rate_allow(pauses: list[float]) -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=4, burst=3, clock=clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += buckets.take("ada") == 0
    assert passed <= 3 + 4 * sum(pauses) + 1e-6


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("a socket", "a socket"),
    ],
)
def test_an_address_is_a_household(host: str, network: str) -> None:
    assert network_of((host, 1)) == network


def test_no_address_is_one_too() -> None:
    assert network_of(None) == ""


def test_a_turn_that_took_too_long_begins_no_more_requests_and_the_next_one_does(clock: Clock) -> None:
    async def begun() -> tuple[int, int]:
        turn = Turn(clock)
        first = 0
        for _ in range(3 * limits.FEW):
            first += turn.has_room()
            clock.now += limits.TURN_SECONDS / (limits.FEW + 8.5)
        await asyncio.sleep(0)
        return first, sum(turn.has_room() for _ in range(3 * limits.FEW))

    assert asyncio.run(begun()) == (limits.FEW + 9, 3 * limits.FEW)


def test_a_few_requests_are_begun_however_long_the_turn_takes(clock: Clock) -> None:
    async def begun() -> int:
        turn, count = Turn(clock), 0
        for _ in range(3 * limits.FEW):
            count += turn.has_room()
            clock.now += 10
        return count

    assert asyncio.run(begun()) == limits.FEW
