"""Which options ``backend="interpreters"`` takes, and which Python it needs."""

import sys
from typing import Any

import pytest

from pmap import OptionError, defaults, pmap
from pmap._calls.options import Settings, merge


def test_an_older_python_is_told_which_one_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 9, "final", 0))
    for ask in (pmap.using, defaults):
        with pytest.raises(OptionError, match=r"needs Python 3\.14 or later") as caught:
            ask(backend="interpreters")
        assert caught.value.option == "backend"


@pytest.mark.parametrize(
    "refused",
    [
        {"start_method": "spawn"},
        {"max_memory_per_child": "1GB"},
        {"kill_over_memory": True},
        {"isolate": True},
        {"threads_per_worker": 2},
    ],
    ids=lambda refused: next(iter(refused)),
)
def test_what_needs_a_process_is_refused(
    refused: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    with pytest.raises(OptionError, match=r"backend='interpreters' has none") as caught:
        merge(Settings(), {"backend": "interpreters", **refused})
    assert caught.value.option == next(iter(refused))
    given: dict[str, Any] = {"backend": "interpreters", "timeout": 3, "max_tasks_per_child": 5}
    assert merge(Settings(), given).worker.backend == "interpreters"
