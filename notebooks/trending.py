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
# # Trending, and other ways to score it
#
# The trending job keeps engagement in one-minute panes. A ranking is a sum over sixty of them, so any other score that
# is made of minutes can be tried on the same panes, without a job and without reading a fact again.

# %%
import os

import matplotlib.pyplot as plt
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from conf import REPOSITORY
from conf.settings import load_settings
from contract import tables
from jobs.transforms.ranking import PastHour

os.chdir(REPOSITORY)  # a relative data_dir starts at the repository's folder
SETTINGS = load_settings()
LAKE = SETTINGS.lake_dir


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
# ## The ranking that was published
#
# `trending_posts` keeps the ranking at the end of each minute. The newest one is what we compare with.

# %%
rankings = table(tables.TRENDING_POSTS).to_pyarrow_dataset()
ends = rankings.to_table(columns=["window_end"])["window_end"].to_pandas().sort_values()
if ends.empty:
    raise SystemExit("The trending job has kept no ranking yet: it keeps one at the end of each minute.")
lately = ds.field("window_end") >= pa.scalar(ends.tail(60).min())
kept = rankings.to_table(filter=lately).to_pandas().sort_values("window_end")
newest = kept.iloc[-1]
hour = PastHour(newest["window_end"].to_pydatetime())
published = pd.DataFrame(list(newest["posts"]), columns=["rank", "post_id", "caption", "likes", "comments", "score"])
if published.empty:
    raise SystemExit(f"Nobody liked or commented from {hour.start:%H:%M} to {hour.end:%H:%M} UTC: run `make simulate`.")
print(f"{len(ends)} rankings; the newest is of {hour.start:%H:%M} to {hour.end:%H:%M} UTC")
published.head(10)

# %% [markdown]
# ## Minute panes
#
# `engagement_by_minute` holds signed changes: when a like moves to another minute or is taken back, -1 goes to the old
# minute and +1 to the new one. Summed, `likes` and `comments` are what stands, minute by minute.
#
# Whether a like stands is judged by the facts of some two hours, from `judged_from` on. Each fact is judged for two
# full hours (three, in the first five minutes of an hour), so every ranking finds one set of panes that holds all it
# needs, and old state can leave. A ranking sums `judged_likes` and `judged_comments` of that set alone. `PastHour`
# names it: the full hour of the window's last minute, less one hour.

# %%
minute = ds.field("minute")
is_judged_here = ds.field("judged_from") == pd.Timestamp(hour.judged_from)
in_hour = (minute >= pd.Timestamp(hour.start)) & (minute < pd.Timestamp(hour.end))
changes = table(tables.ENGAGEMENT_BY_MINUTE).to_pyarrow_dataset().to_table(filter=is_judged_here & in_hour).to_pandas()
judged = {"judged_likes": "likes", "judged_comments": "comments"}
panes = changes.groupby(["post_id", "minute"], as_index=False)[[*judged]].sum().rename(columns=judged)
print(f"judged from {hour.judged_from:%H:%M} UTC: {len(changes):,} changes, {len(panes):,} panes")

# %%
minutes = pd.date_range(hour.start, hour.end, freq="min", inclusive="left")
engagement = panes.groupby("minute")[["likes", "comments"]].sum().reindex(minutes, fill_value=0)
axes = engagement.plot(figsize=(10, 3.5), drawstyle="steps-post", x_compat=True)
axes.set(title="Engagement of the past hour that stands", xlabel="dated (UTC)", ylabel="a minute")
plt.show()

# %%
leaders = published["post_id"].head(5).tolist()
weights = {"likes": SETTINGS.like_weight, "comments": SETTINGS.comment_weight}
panes["points"] = sum(panes[kind] * weight for kind, weight in weights.items())
by_post = panes.pivot(index="minute", columns="post_id", values="points").reindex(index=minutes, columns=leaders)
axes = by_post.fillna(0).rename(columns=shorter).plot.area(figsize=(10, 3.5), linewidth=0, x_compat=True)
axes.set(title="The leading posts, minute by minute", xlabel="dated (UTC)", ylabel="points")
plt.show()

# %% [markdown]
# ## The ranking, from the panes
#
# Score = likes x 1 + comments x 2 (`like_weight` and `comment_weight` in `conf/msm.yaml`); ties go by likes, then to
# the smaller `post_id`; only posts that live. It agrees with what was published, but for facts that arrived after the
# minute had ended, and posts deleted since.

# %%
living = table(tables.POSTS_WITH_COUNTS).to_pandas()[["post_id", "caption"]]


def ranking(scores: pd.DataFrame) -> pd.DataFrame:
    """Living posts with a score above 0, best first: (rank, post_id, caption, likes, comments, score)."""
    ordered = scores[scores["score"] > 0].merge(living, on="post_id")
    ordered = ordered.sort_values(["score", "likes", "post_id"], ascending=[False, False, True]).head(SETTINGS.top)
    ordered.insert(0, "rank", range(1, len(ordered) + 1))
    return ordered[["rank", "post_id", "caption", "likes", "comments", "score"]].reset_index(drop=True)


sums = panes.groupby("post_id", as_index=False)[["likes", "comments", "points"]].sum()
trending = ranking(sums.rename(columns={"points": "score"}))
same = (trending.set_index("post_id")["rank"].reindex(published["post_id"]).to_numpy() == published["rank"]).mean()
print(f"{same:.0%} of the published places are the same, counted from the panes")
trending.head(10)

# %% [markdown]
# ## Another score on the same panes
#
# The published score does not care whether engagement came a minute or fifty minutes ago. Here a point loses half its
# worth every `HALF_LIFE`: what is happening right now rises sooner, what is over falls sooner.

# %%
HALF_LIFE = pd.Timedelta(minutes=10)

age = pd.Timestamp(hour.end) - panes["minute"]
panes["fresh_points"] = panes["points"] * 0.5 ** (age / HALF_LIFE)
fresh_sums = panes.groupby("post_id", as_index=False)[["likes", "comments", "fresh_points"]].sum()
fresh = ranking(fresh_sums.rename(columns={"fresh_points": "score"}))
fresh.head(10)

# %% [markdown]
# ## The two compared
#
# Lines that cross are posts that one score prefers and the other does not.

# %%
both = trending.merge(fresh, on="post_id", suffixes=("_trending", "_fresh"))[["post_id", "rank_trending", "rank_fresh"]]
both["climbs"] = both["rank_trending"] - both["rank_fresh"]
agreement = both["rank_trending"].corr(both["rank_fresh"]) if len(both) > 1 else 1.0
print(f"{len(both)} posts are in both; correlation of their places: {agreement:.2f}")
both.sort_values("climbs", ascending=False).head(10)

# %%
shown = both.head(15)
figure, axes = plt.subplots(figsize=(7, 5))
for row in shown.itertuples():
    axes.plot([0, 1], [row.rank_trending, row.rank_fresh], marker="o")
    axes.annotate(shorter(row.post_id), (0, row.rank_trending), xytext=(-8, 0), textcoords="offset points", ha="right")
axes.invert_yaxis()
axes.set(title="Place by either score", ylabel="place", xlim=(-0.35, 1.1))
axes.set_xticks([0, 1], ["whole hour", f"half-life {HALF_LIFE.seconds // 60} min"])
plt.show()

# %% [markdown]
# How the places changed over the kept minutes:

# %%
places = pd.DataFrame(
    [
        {"window_end": end, "post_id": post["post_id"], "rank": post["rank"]}
        for end, ranks in zip(kept["window_end"], kept["posts"], strict=True)
        for post in ranks
        if post["post_id"] in leaders
    ],
    columns=["window_end", "post_id", "rank"],
)
by_end = places.pivot(index="window_end", columns="post_id", values="rank").rename(columns=shorter)
axes = by_end.plot(marker="o", figsize=(10, 3), x_compat=True)
axes.invert_yaxis()
axes.set(title="Places of the leading posts at the end of each minute", xlabel="UTC", ylabel="place")
plt.show()
