"""The pages say what is there: each setting, each metric, each file that they link to."""

import re
from pathlib import Path

import pytest

from conf import REPOSITORY
from conf.settings import Settings
from contract.principals import PRINCIPALS, Principal
from contract.topics import TOPIC_BY_NAME

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)\s]+))?\)")
METRIC = re.compile(r'(?:Counter|Gauge|Histogram)\(\s*"(msm_\w+)"')
PACKAGES = ("service", "producers", "jobs", "feeds", "audit", "runtime")


def anchors(page: Path) -> set[str]:
    """Headings as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_explained_with_its_default(name: str) -> None:
    row = re.search(
        rf"^\| `{name}` \| `MSM_{name.upper()}` \| (.+?) \| .+$",
        (REPOSITORY / "docs/settings.md").read_text(),
        re.MULTILINE,
    )
    assert row, f"docs/settings.md has no row for {name}"
    default = Settings.model_fields[name].default
    said = row[1].strip("`").lower()
    if default != "":
        assert said in (str(default).lower(), f"./{default}", f"{default:g}" if isinstance(default, float) else None)


def test_each_metric_is_listed() -> None:
    code = "".join(path.read_text() for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
    page = (REPOSITORY / "docs/operations.md").read_text()
    assert [name for name in METRIC.findall(code) if f"`{name}" not in page] == []


@pytest.mark.parametrize("principal", PRINCIPALS, ids=lambda principal: principal.name)
def test_each_principal_of_kafka_is_listed_with_its_rights(principal: Principal) -> None:
    reads, writes = (", ".join(f"`{topic}`" for topic in topics) for topics in (principal.reads, principal.writes))
    if principal.reads == tuple(TOPIC_BY_NAME):
        reads = "every topic"
    row = " | ".join((f"| `{principal.name}`", reads, f"{writes} |"))
    assert row.replace("|  |", "| |") in (REPOSITORY / "docs/security.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if target.startswith("http"):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}#{anchor}"


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:`|^ {4}|=\S+ )make ([a-z]+)", page.read_text(), re.MULTILINE)
    }
    assert named <= targets
