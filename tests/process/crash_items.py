"""Pools of two for tests that kill their workers."""

from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.items import all_workers_at_once
from tests.processes import pids_of

from pmap import Pool

if TYPE_CHECKING:
    from pmap._types import StartMethod

ITEMS: Final = 10


def new_pool(
    method: "StartMethod", initializer: Callable[..., object] | None = None, *initargs: object
) -> Pool:
    """Return a pool of two workers."""
    context: Any = get_context(method)
    return Pool(2, initializer, initargs, context=context)


def warm(pool: Pool, folder: Path) -> set[int]:
    """Have both workers work; return their ids."""
    pids = set(pool.starmap(all_workers_at_once, [(str(folder), 2)] * 2, chunksize=1))
    assert len(pids) == 2
    assert pids == set(pids_of(backend_of(pool)))
    return pids


def backend_of(pool: Pool) -> Any:
    """Return the process backend of a pool."""
    return pool._driver.backend
