"""The laws on processes of MPI: run by ``nox -s engines``, which starts pytest by ``mpirun``.

Each process but the first is a worker of the executor. The first one runs pytest.
"""

import os
from importlib import import_module
from typing import Any, Final

import pytest
from tests.engines.laws import (
    OF_THE_CALLER,
    ON_ALL,
    WHERE_TASKS_END,
    WITH_INNER_WORKERS,
    by_name,
)
from tests.engines.places import MPI, OnEngine, Place

from pmap import pmap

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        "OMPI_COMM_WORLD_SIZE" not in os.environ and "PMI_SIZE" not in os.environ,
        reason="needs several processes of MPI: mpirun -n 5 python -m mpi4py.futures -m pytest ...",
    ),
]
PLACES: Final[list[Place]] = [MPI]
globals().update(by_name(ON_ALL, OF_THE_CALLER, WITH_INNER_WORKERS, WHERE_TASKS_END))


def rank(_: int) -> tuple[int, int]:
    """Return the number of this process among those of its MPI job, and how many they are."""
    mpi: Any = import_module("mpi4py.MPI")
    return mpi.COMM_WORLD.Get_rank(), mpi.COMM_WORLD.Get_size()


def test_without_inner_workers_items_are_in_the_job(backend: OnEngine) -> None:
    size = rank(0)[1]
    verb = pmap.using(**backend.options()).using(inner_worker=False)
    assert {*verb(rank, range(20))} <= {(number, size) for number in range(1, size)}


def test_mpi_in_an_inner_worker_is_a_job_of_its_own(backend: OnEngine) -> None:
    """With the variables of the process that started it, it would end the whole job."""
    verb = pmap.using(**backend.options())
    for _ in range(2):
        assert verb(rank, range(4)) == [(0, 1)] * 4
    initialized = verb.using(initializer=rank, initargs=(0,))
    assert initialized(rank, range(2)) == [(0, 1)] * 2
    assert rank(0)[1] > 1
