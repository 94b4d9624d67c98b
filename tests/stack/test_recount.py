"""The stack audits itself while facts flow and parts are killed, and explains every number."""

import json

import httpx2
import pytest

from audit.report import EVERYTHING
from tests.stack.conftest import Stack
from tests.stack.test_exact import eventually

pytestmark = pytest.mark.stack


def test_the_stack_has_audited_itself_and_found_no_drift(stack: Stack) -> None:
    path = stack.settings.audit_result
    eventually(path.exists, "the auditor has said something")

    def compared_everything() -> bool:  # an audit beside a part that was just killed leaves that out
        report = json.loads(path.read_text())
        assert report["drift"] == 0, report
        assert report["closes"]
        assert report["records"] > 100
        return bool(report["compared"] == EVERYTHING)

    eventually(compared_everything, "an audit has compared everything")
    assert httpx2.get(f"{stack.url}/audit", timeout=30).json()["drift"] == 0


def test_the_numbers_of_each_post_close_in_the_end(stack: Stack) -> None:
    posts = httpx2.get(f"{stack.url}/feed", params={"limit": 10}, timeout=30).json()["posts"]
    assert posts

    def closes(post_id: str) -> bool:
        answer = httpx2.get(f"{stack.url}/posts/{post_id}/explain", timeout=30)
        return answer.is_success and bool(answer.json()["closes"] and answer.json()["records"])

    for post in posts:
        eventually(lambda post_id=post["post_id"]: closes(post_id), f"the sums of {post['post_id']} close")


def test_the_command_line_explains_a_post(stack: Stack) -> None:
    (post,) = httpx2.get(f"{stack.url}/feed", params={"limit": 1}, timeout=30).json()["posts"]
    explained = stack.msm("explain", post["post_id"], "--json")
    assert explained.returncode == 0, explained.stdout + explained.stderr
    assert json.loads(explained.stdout)["published"]["post_id"] == post["post_id"]
