"""What items do with large arrays, and what is known of the memory in which these travel."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.limits import until
from tests.processes import pids_of
from tests.property.memory_items import is_mapped

from pmap._backends.processes import ProcessBackend
from pmap._engine.driver import Driver
from pmap._transport import segments as _segments
from pmap._transport.journal import SIZE, STACK
from pmap._transport.segments import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable


Array = NDArray[Any]
N: Final = LARGE // 8 + 1000  # floats that make a large buffer


def noted_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many bytes this process writes into segments from now on, one by one."""
    sizes: list[int] = []
    write = _segments.Segment.write

    def noted(segment: _segments.Segment, buffers: Any) -> None:
        sizes.append(sum(memoryview(buffer).nbytes for buffer in buffers))
        write(segment, buffers)

    monkeypatch.setattr(_segments.Segment, "write", noted)
    return sizes


def same(value: Any) -> Any:
    return value


def look(array: Array) -> tuple[bool, bool, float]:
    return is_mapped(array), array.flags.writeable, float(array.sum())


def noted_segments(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the segments that are made here from now on, one element each."""
    made: list[int] = []
    create = os.memfd_create

    def noted(*args: Any) -> int:
        made.append(0)
        return create(*args)

    monkeypatch.setattr(os, "memfd_create", noted)
    return made


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def weigh(weights: Array, number: int) -> float:
    return float(weights[number])


def segments() -> int:
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum("memfd:pmap " in os.readlink(link) for link in links if os.path.lexists(link))


class Kept:
    """The segments that the workers of a pool have for results."""

    def __init__(self, driver: Driver, call: "Callable[..., object]") -> None:
        """Look at workers none of whose results were large; `call` maps on them."""
        self._driver = driver
        # A call each time, as it is who waits for its result that hears of a worker's start.
        until(lambda: call(abs, [1, 2]) and len(self._pids()) == driver.limit, "all workers' start")
        self._before = self._inodes()  # a fork has what its parent has open

    def _pids(self) -> list[int]:
        backend = self._driver.backend
        assert isinstance(backend, ProcessBackend)
        return pids_of(backend)

    def _inodes(self) -> set[int]:
        found: set[int] = set()
        for pid in self._pids():
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    file = fd.stat()
                    # A journal has a size that no segment has: all of these are larger.
                    if "memfd:pmap " in os.readlink(fd) and file.st_size != SIZE + STACK:
                        found.add(file.st_ino)
                except FileNotFoundError:
                    continue  # it was closed meanwhile
        return found

    def __call__(self) -> set[int]:
        """Return their inodes."""
        return self._inodes() - self._before


def full(number: float, size: int = N) -> Array:
    return np.full(size, number)
