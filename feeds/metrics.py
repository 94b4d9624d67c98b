"""What Prometheus sees of the feeds."""

from prometheus_client import Counter, Gauge

APPLIED = Counter("msm_feed_records_applied", "Records that changed the view", ["topic"])
IGNORED = Counter("msm_feed_records_ignored", "Records that were no news: written again, or older", ["topic"])
UNUSABLE = Counter("msm_feed_records_unusable", "Records that say nothing about the view", ["topic"])
LAG = Gauge("msm_feed_lag_records", "Records in the topic that are not in the view yet", ["topic"])
CAUGHT_UP = Gauge("msm_feed_caught_up", "1 once the view was whole since it was opened or rebuilt", ["topic"])
AS_OF = Gauge("msm_feed_as_of_timestamp_seconds", "When the view held all that the topics did", ["topic"])
AGE = Gauge("msm_feed_last_applied_age_seconds", "Age of the newest record in the view", ["topic"])
CLIENTS = Gauge("msm_feed_stream_clients", "Open streams of server-sent events", ["feed"])
DROPPED = Counter("msm_feed_stream_clients_dropped", "Streams closed because the client was slow", ["feed"])
