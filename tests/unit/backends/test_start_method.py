"""The start method that a pool uses if nobody asks for one."""

import multiprocessing
import sys
from collections.abc import Iterator

import pytest

from pmap._backends.start_method import default_start_method, may_fork, usual_start_method

USUAL = "forkserver" if sys.platform == "linux" else "spawn"
FIRST, *OTHERS = multiprocessing.get_all_start_methods()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(None, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_without_a_setting_it_is_the_usual_one() -> None:
    assert default_start_method() == USUAL
    assert multiprocessing.get_start_method(allow_none=True) is None  # asking has set nothing


@pytest.mark.parametrize("method", OTHERS)
def test_the_setting_of_the_program_counts(method: str) -> None:
    multiprocessing.set_start_method(method)
    assert default_start_method() == method


def test_the_setting_that_asking_makes_does_not_count() -> None:
    assert multiprocessing.get_start_method() == FIRST
    assert default_start_method() == USUAL


def test_multiprocessing_is_not_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "multiprocessing")
    assert default_start_method() == USUAL
    assert "multiprocessing" not in sys.modules


@pytest.mark.parametrize("platform", ["linux", "darwin", "freebsd14", "win32"])
def test_nothing_is_forked_unasked_but_on_linux(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert usual_start_method() == ("forkserver" if platform == "linux" else "spawn")
    assert may_fork() is (platform == "linux")
