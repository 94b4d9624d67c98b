"""`msm backfill`: what one types, and what one sees."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from conf.settings import Settings, load_settings
from conf.store import refuse_store
from contract.principals import ADMIN
from jobs.generations import Comparison
from runtime import backfill as work

console = Console(highlight=False)
backfill = typer.Typer(
    invoke_without_command=True, help="Count everything anew beside the running jobs; compare; switch."
)


def administrator() -> Settings:
    """It makes topics, and writes what each of the jobs writes."""
    settings = load_settings().acting_as(ADMIN)
    refuse_store(
        settings, "make backfill", "start over with new checkpoints (never remove lake/events): docs/cluster.md"
    )
    return settings


Accept = Annotated[bool, typer.Option("--accept", help="The differences are meant: the logic has changed.")]


@backfill.callback()
def main(
    context: typer.Context,
    trending: Annotated[bool, typer.Option("--trending", help="The rankings, too: their past three hours.")] = False,
) -> None:
    """Build beside the running jobs, from Kafka and what only the archive still has, and compare."""
    if context.invoked_subcommand is None:
        _report(work.build(administrator(), trending, console), "make backfill ARGS=switch makes it the live one")


@backfill.command()
def compare() -> None:
    """Let what stands beside catch up, and compare it post by post; exit code 1 where posts differ."""
    _report(work.compare_only(administrator(), console), "make backfill ARGS=switch makes it the live one")


@backfill.command()
def switch(accept: Accept = False) -> None:
    """Make what was rebuilt the live one; the one before is kept for a roll back."""
    found = work.switch(administrator(), work.REBUILT, accept, console)
    if found is not None:
        _report(found, "", accept)
    console.print("switched: make backfill ARGS=rollback goes back, make backfill ARGS=drop forgets the one before")


@backfill.command()
def rollback() -> None:
    """Let what was live before catch up, and make it live again."""
    work.switch(administrator(), work.BEFORE, True, console)
    console.print("rolled back: what was live stands beside now; make backfill ARGS=drop removes it")


@backfill.command()
def drop() -> None:
    """Remove what stands beside, for good."""
    console.print("dropped" if work.drop(administrator()) else "nothing stood beside")


def _report(found: Comparison, then: str, accept: bool = False) -> None:
    posts = ", ".join(f"{number:,} {verdict}" for verdict, number in sorted(found.posts.items())) or "none at all"
    console.print(f"posts: {posts}")
    if found.unsettled:
        console.print(
            f"{found.unsettled:,} of them have other facts on one side than on the other: they came meanwhile"
        )
    if found.minutes:
        console.print(f"rankings: {found.minutes:,} minutes of posts add up to something else")
    if found.first:
        console.print(_differences(found))
    if found.differ and not accept:
        console.print("nothing was switched: if the differences are meant, make backfill ARGS='switch --accept'")
        raise typer.Exit(1)
    if then:
        console.print(then)


def _differences(found: Comparison) -> Table:
    table = Table("post", "verdict", "live", "beside", title=f"the first of {found.differ:,} posts that differ")
    for row in found.first[:10]:
        table.add_row(*(Text(cell) for cell in (row.post_id, row.verdict, _said(row.live), _said(row.beside))))
    return table


def _said(side: Any) -> str:
    post: Mapping[str, Any] | None = side.post if side else None
    if post is None:
        return "not there"
    return f"{post['likes']} likes, {post['comments']} comments, {post['caption'][:20]!r}"
