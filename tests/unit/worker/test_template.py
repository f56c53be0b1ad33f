"""What the fork server decides on its own: whether threads that it has will stay."""

import pytest

from pmap._worker import template


def counted(monkeypatch: pytest.MonkeyPatch, *counts: int) -> list[int]:
    """Let `count_threads` return these counts in turn, the last one for ever; return the rest."""
    left = [*counts]
    monkeypatch.setattr(template, "_lasting", 1)
    monkeypatch.setattr(
        template, "count_threads", lambda: left.pop(0) if len(left) > 1 else left[0]
    )
    return left


def test_a_thread_that_is_about_to_end_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, 3, 2, 1)
    assert template.count_lasting_threads() == 1


def test_threads_that_stay_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, 3)
    assert template.count_lasting_threads() == 3
    left = counted(monkeypatch, 3, 1)
    monkeypatch.setattr(template, "_lasting", 3)
    assert template.count_lasting_threads() == 3
    assert left == [1]  # it was counted a single time
