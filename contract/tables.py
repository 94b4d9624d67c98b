"""Delta tables, folders under `<data>/lake/`, or `<MSM_STORE>/lake/`."""

EVENTS = "events"
POSTS_WITH_COUNTS = "posts_with_counts"
ENGAGEMENT_BY_MINUTE = "engagement_by_minute"
TRENDING_POSTS = "trending_posts"

ERASED = "erased"
"""Where in the fact topics the records were that `msm forget` took out of `events`; nothing else of them."""

# Working tables of the trending job; nothing outside depends on them.
POST_FACTS = "post_facts"
FIRST_HOUR_ENGAGEMENT = "first_hour_engagement"
