"""The registry is the contract's, number by number."""

from contract.topics import TOPICS

DAY_MS = 86_400_000


def test_keys_and_partitions() -> None:
    table = {topic.name: (topic.key, topic.partitions, topic.embedded_partitions) for topic in TOPICS}
    assert table == {
        "posts": ("user_id", 32, 4),
        "likes": ("post_id", 128, 4),
        "comments": ("post_id", 128, 4),
        "posts_with_counts": ("post_id", 128, 4),
        "trending_posts": ("past_hour", 1, 1),
        "rising_posts": ("first_hour", 1, 1),
        "dead_letters": ("the original key", 32, 4),
    }


def test_facts_are_kept_a_year_and_never_compacted_and_results_are_compacted() -> None:
    for topic in TOPICS:
        is_result = topic.name in ("posts_with_counts", "trending_posts", "rising_posts")
        assert topic.settings["cleanup.policy"] == ("compact" if is_result else "delete")
        if not is_result:
            assert int(topic.settings["retention.ms"]) == 365 * DAY_MS


def test_the_brokers_clock_says_when_a_record_arrived() -> None:
    assert {topic.settings["message.timestamp.type"] for topic in TOPICS} == {"LogAppendTime"}
