"""What an audit found, as JSON and for people."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

SHOWN = 10
EVERYTHING = ["the topic", "the table", "the feed", "trending", "rising", "the feed of rankings"]
"""What is `compared` where all parts of a stack answer, and both rankings say what went in."""
NOTHING_SAID = 2
"""Exit code of an audit that could not be made; 1 is drift."""


@dataclass
class Report:
    """`records` = `counted` + `superseded` + `dead` + `waiting`; the facts that are in are all but the waiting.

    They are all that are `archived`, or those of the `part` of `parts` that was judged.

    counted: the one record that decides its (post, user) or (post, comment, user); superseded: another of the same,
    older, overruled or delivered again; dead: no fact; waiting: archived, but not yet counted by the job.
    """

    audited_at: str
    source: str
    archived: int = 0
    part: int = 0
    parts: int = 1
    records: int = 0
    counted: int = 0
    superseded: int = 0
    dead: int = 0
    waiting: int = 0
    posts: int = 0
    unsettled: int = 0
    drift_posts: int = 0
    drift_letters: int = 0
    archive: list[str] = field(default_factory=list)
    rankings: list[str] = field(default_factory=list)
    first: list[dict[str, Any]] = field(default_factory=list)
    first_letters: list[dict[str, Any]] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def facts(self) -> int:
        return self.records - self.waiting

    @property
    def drift(self) -> int:
        """All that differs: posts, dead letters, partitions of the archive, rankings, a sum that does not close."""
        return self.drift_posts + self.drift_letters + len(self.archive) + len(self.rankings) + (not self.closes)

    @property
    def closes(self) -> bool:
        return self.facts == self.counted + self.superseded + self.dead

    def as_json(self) -> dict[str, Any]:
        rate = round(self.records / self.seconds) if self.seconds else 0
        derived = {"facts": self.facts, "drift": self.drift, "closes": self.closes, "records_per_second": rate}
        return {**asdict(self), **derived}


def show(report: dict[str, Any], console: Console) -> None:
    """Print it."""
    console.print(
        f"facts in {report['facts']:,} = {report['counted']:,} counted + {report['superseded']:,} superseded"
        f" + {report['dead']:,} dead" + ("" if report["closes"] else "   [bold red]does not close[/]")
    )
    if report["waiting"]:
        console.print(f"{report['waiting']:,} more are archived and not yet counted")
    if report["unsettled"]:
        console.print(f"{report['unsettled']:,} posts are being counted right now: the next audit judges them")
    where = ", ".join(report["compared"])
    verdict = "[green]drift 0[/]" if report["drift"] == 0 else f"[bold red]drift {report['drift']:,}[/]"
    console.print(f"{verdict}   {report['posts']:,} posts compared in {where}")
    for line in (*report["archive"], *report["rankings"]):
        console.print(line, style="red", markup=False)
    if report["first"]:
        console.print(_posts(report["first"], report["drift_posts"]))
    if report["first_letters"]:
        console.print(_letters(report["first_letters"], report["drift_letters"]))
    console.print(
        f"{report['seconds']:.0f} s, {report['records_per_second']:,} records a second, from {report['source']}"
    )


def _posts(rows: list[dict[str, Any]], total: int) -> Table:
    table = Table("post", "topic", "transforms", "statement", "table", "feed", "why", title=f"{total:,} posts differ")
    for row in rows:
        says = [_short(row[name]) for name in ("topic", "transforms", "statement", "table", "feed")]
        table.add_row(Text(row["post_id"]), *says, "\n".join(row["why"]))
    return table


def _short(said: dict[str, Any] | None) -> str:
    if said is None:
        return "-"
    return f"{said['likes']} likes\n{said['comments']} comments\nversion {said['version']}"


def _letters(rows: list[dict[str, Any]], total: int) -> Table:
    table = Table("record", "it is", "letters say", "letters", title=f"{total:,} dead letters differ")
    for row in rows:
        place = f"{row['topic']} {row['partition']} @ {row['offset']}"
        said = Text(row["said"] or "-")  # whoever wrote to the topic
        table.add_row(Text(place), row["reason"] or "a fact", said, str(row["times"] or 0))
    return table
