import resource
from collections.abc import Iterator

import pytest

from consumer.service.open_files import MOST, allow_open_files


@pytest.fixture(autouse=True)
def limits() -> Iterator[tuple[int, int]]:
    """The limits of this process, as they were afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may(limits: tuple[int, int]) -> None:
    _, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (MOST if hard < 0 else min(MOST, hard), hard)


def test_the_limit_is_never_lowered(monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int]) -> None:
    monkeypatch.setattr("consumer.service.open_files.MOST", 16)
    allow_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
