"""How many threads BLAS, OpenMP and the like use in a worker: together no more than CPUs."""

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pmap import Pool, papply
from pmap._calls.cpus import cpu_count

if TYPE_CHECKING:
    from pmap._types import StartMethod

OMP = "OMP_NUM_THREADS"
BLAS = "OPENBLAS_NUM_THREADS"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OMP, raising=False)
    monkeypatch.delenv(BLAS, raising=False)


def told() -> tuple[str | None, str | None]:
    return os.environ.get(OMP), os.environ.get(BLAS)


def threads_of_blas() -> int:
    """Return how many threads this process has after it multiplied something large."""
    square = np.ones((800, 800))
    assert (square @ square)[0, 0] == 800.0
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("processes", [1, 2, 100])
def test_the_cpus_are_shared_among_the_workers(processes: int) -> None:
    share = str(max(1, cpu_count() // processes))
    assert papply.using(processes=processes)(told) == (share, share)


def test_each_start_method(start_method: "StartMethod") -> None:
    assert papply.using(start_method=start_method, threads_per_worker=3)(told) == ("3", "3")


def test_what_the_user_has_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    verb = papply.using(processes=2)
    monkeypatch.setenv(OMP, "7")
    assert verb(told) == ("7", str(max(1, cpu_count() // 2)))
    assert verb.using(threads_per_worker=3)(told) == ("3", "3")


def test_what_the_user_sets_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool(cpu_count()) as pool:
        assert pool.apply(told) == ("1", "1")
        monkeypatch.setenv(OMP, "9")
        assert pool.apply(told) == ("9", "1")
        monkeypatch.delenv(OMP)
        assert pool.apply(told) == ("1", "1")


def test_the_callers_own_environment_stays_as_it_is() -> None:
    papply.using(threads_per_worker=5)(told)
    assert told() == (None, None)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
@pytest.mark.parametrize("count", [1, 2])
def test_blas_listens(count: int) -> None:
    verb = papply.using(start_method="forkserver", threads_per_worker=count, isolate=True)
    assert verb(threads_of_blas) == count
