"""The audit and the explanation of a stack that runs, while facts flow."""

import json
import subprocess
import sys

import httpx2
import pytest

from tests.stack.conftest import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_an_audit_while_facts_flow_finds_no_drift(stack: Stack) -> None:
    traffic = [sys.executable, "-m", "producers.simulator", "--rate", "40", "--facts", "4000"]
    flowing = subprocess.Popen(traffic, env=stack.env, stderr=subprocess.DEVNULL)
    try:
        audited = stack.msm("audit", "--json")
    finally:
        flowing.terminate()
        flowing.wait(30)
    report = json.loads(audited.stdout)
    assert audited.returncode == 0, report
    assert report["closes"]
    assert report["records"] > 100
    assert report["compared"] == ["the topic", "the table", "the feed", "trending", "rising", "the feed of rankings"]


def test_the_numbers_of_each_post_close_in_the_end(stack: Stack) -> None:
    post = httpx2.get(f"{stack.url}/feed", params={"limit": 1}).json()["posts"][0]
    explained = stack.msm("explain", post["post_id"], "--json")
    assert explained.returncode == 0, explained.stdout + explained.stderr
    found = json.loads(explained.stdout)
    assert found["closes"] or found["behind"] > 0
