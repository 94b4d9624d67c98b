# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Explore the lake
#
# What arrived, what it adds up to, and how the counts grew. The archive and the rankings write Delta tables under
# `<data>/lake/`; this notebook reads them without Spark, while the jobs write or while nothing runs. It finds them by
# the same settings as
# everything else: set `MSM_DATA_DIR` before you start Jupyter to look at another stack.

# %%
import json
import os
from datetime import date, datetime, timedelta

import matplotlib.pyplot as plt
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from conf import REPOSITORY
from conf.settings import load_settings
from contract import tables
from contract.facts import FACT_BY_TYPE, FUTURE_TOLERANCE_SECONDS, Fact, parse_time

os.chdir(REPOSITORY)  # a relative data_dir starts at the repository's folder
LAKE = load_settings().lake_dir


def table(name: str) -> DeltaTable:
    """A table as it is now; says what to do where there is none."""
    path = LAKE / name
    if not DeltaTable.is_deltatable(str(path)):
        raise SystemExit(f"There is no table {path} yet: run `make demo`, or set MSM_DATA_DIR to a stack that ran.")
    return DeltaTable(path)


def shorter(identifier: str) -> str:
    """An id that fits a plot."""
    return identifier if len(identifier) <= 10 else f"{identifier[:4]}…{identifier[-4:]}"


# %% [markdown]
# ## What arrived
#
# `events` has every record of the three fact topics as it came, valid or not, redelivered or not. `arrived_at` is the
# broker's clock. The table is partitioned by the day of arrival; only the last two days are read here.

# %%
archive = table(tables.EVENTS)
days = [date.fromisoformat(day["arrived_date"]) for day in archive.partitions()]
if not days:
    raise SystemExit("Nothing has arrived yet: run `make simulate`, and once more in some seconds.")
events = archive.to_pyarrow_dataset()
recently = ds.field("arrived_date") >= max(days) - timedelta(days=1)
arrivals = events.to_table(columns=["topic", "arrived_at"], filter=recently).to_pandas(categories=["topic"])
a_minute = (
    arrivals.groupby([arrivals["arrived_at"].dt.floor("min"), "topic"], observed=True).size().unstack(fill_value=0)
)

# %%
axes = a_minute.plot(figsize=(10, 3.5), marker=".", x_compat=True)
axes.set(title="Records a minute, by topic", xlabel="arrived at (UTC)", ylabel="records")
plt.show()

# %% [markdown]
# What they are. `event_type` is inside the record, which may be anything: what cannot be read is shown as such. Such
# records also went to the topic `dead_letters`, each with its reason.


# %%
def event_type(value: bytes | None) -> str:
    try:
        return str(json.loads(value or b"")["event_type"])
    except (ValueError, KeyError, TypeError):
        return "(unreadable)"


newest = recently & (ds.field("arrived_at") >= pa.scalar(arrivals["arrived_at"].nlargest(100_000).min()))
sample = events.to_table(columns=["topic", "value"], filter=newest).to_pandas()
sample["event_type"] = sample["value"].map(event_type)
sample.groupby(["topic", "event_type"]).size().rename("of the newest 100,000").to_frame()

# %% [markdown]
# ## What it adds up to
#
# `posts_with_counts` has one row a living post. `likes` and `comments` are what stands, not how many facts there were:
# a like taken back, or delivered twice, is no further like.

# %%
posts = table(tables.POSTS_WITH_COUNTS).to_pandas()
if posts.empty:
    raise SystemExit("No post lives yet: run `make simulate`, and once more in some seconds.")
top = posts.sort_values(["likes", "post_id"], ascending=[False, True]).head(10)
top[["post_id", "user_id", "caption", "likes", "comments", "version", "updated_at"]]

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
ranked = posts["likes"].sort_values(ascending=False).to_numpy()
left.loglog(range(1, len(ranked) + 1), ranked + 1)
left.set(title="A few posts have most likes", xlabel="place", ylabel="likes + 1")
right.scatter(posts["likes"] + 1, posts["comments"] + 1, s=8, alpha=0.4)
right.set(title="Likes and comments", xlabel="likes + 1", ylabel="comments + 1", xscale="log", yscale="log")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## One post, counted by hand
#
# The rules for likes in plain Python, on the records of the post with the most likes. What is no fact goes first: the
# models of the contract say so, as they would to a producer, and nothing may be dated more than five minutes after it
# arrived. Then a fact is known by its `event_id`, and the latest one of each user by (`occurred_at`, `event_id`) says
# whether they like the post. While the stack runs, the newest facts may be in one table and not yet in the other.


# %%
def fact_of(value: bytes | None, arrived_at: datetime) -> Fact | None:
    """The fact that a record is; None for a dead letter."""
    try:
        fact = FACT_BY_TYPE[event_type(value)].model_validate_json(value or b"")
    except (KeyError, ValueError):
        return None
    is_in_time = parse_time(fact.occurred_at) <= arrived_at + timedelta(seconds=FUTURE_TOLERANCE_SECONDS)
    return fact if is_in_time else None


post_id = top["post_id"].iloc[0]
of_post = ds.field("key") == post_id.encode()  # likes are keyed by their post
in_likes = ds.field("topic") == "likes"
records = events.to_table(columns=["value", "arrived_at"], filter=of_post & in_likes).to_pylist()
facts = [fact for record in records if (fact := fact_of(**record)) and fact.topic == "likes"]
likes = pd.DataFrame([dict(fact) for fact in facts], columns=["event_id", "event_type", "user_id", "occurred_at"])
by_order = likes.drop_duplicates("event_id").sort_values(["occurred_at", "event_id"])
says = by_order.groupby("user_id")["event_type"].last()
by_hand = int((says == "post_liked").sum())
counted = int(top["likes"].iloc[0])
print(
    f"{shorter(post_id)}: {len(records):,} records of likes, {len(facts):,} of them facts; "
    f"{by_hand:,} likes by hand, {counted:,} by the job"
)

# %% [markdown]
# ## Time travel
#
# Each MERGE of the job is a version of the Delta table, and old versions can still be read: replaced files are kept for
# an hour. So, of the versions of the last hour, up to twelve are read, and what the top posts had in each.

# %%
history = pd.DataFrame(table(tables.POSTS_WITH_COUNTS).history())
history["written_at"] = pd.to_datetime(history["timestamp"], unit="ms", utc=True)
is_readable = history["written_at"] >= history["written_at"].max() - pd.Timedelta(minutes=55)
is_merge = history["operation"] == "MERGE"
versions = history[is_readable & is_merge].sort_values("version")
picked = versions.iloc[sorted({round(i * (len(versions) - 1) / 11) for i in range(12)})] if len(versions) else versions
versions[["version", "written_at", "operation"]].tail()

# %%
names = top["post_id"].head(5).tolist()
then = {}
for version, written_at in zip(picked["version"], picked["written_at"], strict=True):
    old = DeltaTable(LAKE / tables.POSTS_WITH_COUNTS, version=int(version)).to_pyarrow_dataset()
    try:
        counts = old.to_table(columns=["post_id", "likes"], filter=ds.field("post_id").isin(names)).to_pandas()
    except FileNotFoundError:  # `msm forget` keeps no old files
        continue
    then[written_at] = counts.set_index("post_id")["likes"]
grown = pd.DataFrame(then).T.reindex(columns=names).fillna(0).astype(int).rename(columns=shorter)
grown.rename_axis("version written at")

# %%
axes = grown.plot(marker="o", figsize=(10, 3.5), x_compat=True)
axes.set(title="How the likes of the top posts grew", ylabel="likes")
plt.show()
