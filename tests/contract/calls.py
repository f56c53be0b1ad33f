"""Pools and calls that are under way, on which the laws are tried."""

import multiprocessing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.backends import Settings
from tests.contract.functions import answer_when_told
from tests.files import marks
from tests.limits import until

from pmap import AsyncResult, Pool, pmap


def new_pool(backend: Settings, maxtasksperchild: int | None = None) -> Pool:
    """Return a pool of two processes that nobody else uses."""
    if not backend.processes:
        pytest.skip("a Pool has processes")
    context: Any = multiprocessing.get_context(backend.start_method)
    return Pool(2, maxtasksperchild=maxtasksperchild, context=context)


def started(concurrent: Settings, folder: Path, total: int = 3) -> AsyncResult[list[int]]:
    """Return a call of which two items have begun and none can end before the file `go`."""
    verb = pmap.using(**concurrent.options())
    later = verb.async_(partial(answer_when_told, str(folder)), range(total), chunksize=1)
    until(lambda: len(marks(folder)) == min(2, total), "two items' beginning")
    return later
