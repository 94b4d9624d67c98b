"""A store that cannot be used is named, with the fix."""

from collections.abc import Iterator

import pytest

from conf import store
from conf.settings import Settings


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    store.s3.cache_clear()
    yield
    store.s3.cache_clear()


@pytest.mark.parametrize("endpoint", ["minio.example.com:9000", "minio", "//minio:9000", "ftp://minio:9000"])
def test_an_endpoint_that_python_and_spark_would_read_as_two_is_refused(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    said = store.complaint(Settings(store="s3a://social"))
    assert f"AWS_ENDPOINT_URL is {endpoint!r}: write http:// or https:// before the host" in said
