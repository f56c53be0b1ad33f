"""What a test must not leave behind: of this process and of those that it started.

What other programs have is nobody's business here. In /dev/shm is nothing of ours: large values
are in memory files that have no name (``memfd_create``), which are descriptors of this process or
of one below it, and seen as such. What lies in that folder is of other programs.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

from tests.limits import TIME_LIMIT, seconds
from tests.processes import descendants, describe_process, end, our_processes, pids_of, processes


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    places: list[str] = []
    while frame is not None and len(places) < 4:
        places.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(places)


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            # Below 3 are the standard streams, which pytest puts elsewhere and back.
            if int(name) > 2:
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that listed the directory
    return found


def _drivers() -> list[Any]:
    from pmap._engine.process_end import engines

    return list(engines)


def _open_pools() -> list[Any]:
    return [driver for driver in _drivers() if not driver.closed]


def _shared_pools() -> list[Any]:
    from pmap._api.shared_pools import shared_pools

    engines = [] if shared_pools.engines is None else shared_pools.engines.all()
    return [*shared_pools.drivers.values(), *engines]


def _forget_shared_pools() -> None:
    from pmap._api.shared_pools import shared_pools

    shared_pools.drivers.clear()
    if shared_pools.engines is not None:
        shared_pools.engines.taken()


def show_pools() -> list[str]:
    """Return what there is to say of each pool that still has workers."""
    return [
        f"{type(driver.backend).__name__} closed={driver.closed!r} busy={driver.busy} "
        f"workers={driver._state.scheduler.workers} thread={driver._leadership.thread} "
        f"inbox={len(driver._state.inbox)} "
        f"shared={driver in _shared_pools()}"
        for driver in _drivers()
        if driver._state.scheduler.workers
    ]


def end_shared_pools() -> None:
    """End the library's warm pools, as the end of the program would."""
    from pmap._api.shared_pools import shared_pools

    while shared_pools.drivers:
        _, driver = shared_pools.drivers.popitem()
        driver.terminate()
    if shared_pools.engines is not None:
        for driver in shared_pools.engines.taken():
            driver.terminate()


def end_interpreters() -> None:
    """End the warm pools of interpreters: Python crashes in a fork of a process that has some."""
    from pmap._api.shared_pools import shared_pools

    for options, driver in [*shared_pools.drivers.items()]:
        if options.backend == "interpreters":
            del shared_pools.drivers[options]
            driver.terminate()


def _pids_of(drivers: Iterable[Any]) -> set[int]:
    pids: set[int] = set()
    for driver in drivers:
        if hasattr(driver.backend, "_starter"):
            pids.update(pids_of(driver.backend))
            template = driver.backend._starter.template
            if template is not None:
                pids.add(template._process.pid)
                pids |= descendants(template._process.pid)
    return pids


def _descriptors_of(drivers: Iterable[Any]) -> set[int]:
    """Return the descriptors that open pools of processes hold, but for those of their journals."""
    found: set[int] = set()
    for driver in drivers:
        backend = driver.backend
        if not hasattr(backend, "_starter"):
            continue
        for link in list(backend._connections.values()):
            found.add(link.sock.fileno())
            if link.handle.sentinel is not None:
                found.add(link.handle.sentinel)
        # A pool that idles out is closed by its own thread while we look: each is read once.
        poller, starter = backend._poller, backend._starter
        template, lifeline = starter.template, starter.lifeline
        if poller is not None:
            with suppress(ValueError):  # closed meanwhile
                if hasattr(poller._kernel, "fileno"):  # `select` on Windows has none
                    found.add(poller._kernel.fileno())
            found.update(end.fileno() for end in poller._wakers)
        if template is not None:
            found.add(template.sock.fileno())
        if lifeline is not None:
            found |= {lifeline.end, lifeline._ours}
        large = driver._state.singles.specs._large
        if large is not None:
            found.add(large.segment.fd)
    return found


def _journals_of(drivers: Iterable[Any]) -> int:
    """Return how many workers of open pools share memory with us: a descriptor each, of mmap's."""
    return sum(len(getattr(driver.backend, "_connections", ())) for driver in drivers)


@dataclass(frozen=True)
class Leftovers:
    """What there is at a moment."""

    # All of the machine: those that are new are looked at. None: no process can be new.
    processes: frozenset[tuple[int, int]] | None
    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]
    pools: tuple[Any, ...]  # drivers of pools that are open: those of a class or module

    @classmethod
    def now(cls, starts_processes: bool = True) -> Self:
        """Take stock, without processes where a test can start none: that takes 2 ms."""
        there = processes().values() if starts_processes else ()
        now = cls(
            frozenset((one.pid, one.began) for one in there) if starts_processes else None,
            frozenset(threading.enumerate()),
            frozenset(_descriptors().items()),
            tuple(_open_pools()),
        )
        # What is gone is excused no more: another one may come that looks the same.
        _excused[:] = [one._still(now) for one in _excused]
        return now

    def _still(self, now: "Leftovers") -> "Leftovers":
        """Return what there is of it now."""
        known = self.processes
        if known is not None and now.processes is not None:
            known &= now.processes
        return Leftovers(
            known,
            self.threads & now.threads,
            self.descriptors & now.descriptors,
            self.pools,
        )

    def left(self, warm: bool, limit: float = TIME_LIMIT / 2) -> list[str]:
        """Return what is there now and was not then, once it has had time to go.

        Args:
            warm: whether shared pools, and those that were open then, may hold some of it.
            limit: seconds after which what is still there is left behind.
        """
        begin = time.monotonic()
        collected = False
        while (left := self._left(warm)) and time.monotonic() < begin + limit:
            if not collected and time.monotonic() > begin + limit / 4:
                # An error and its traceback are a circle. If another thread still held a part of
                # it when the test collected, nothing frees what it refers to before the next time.
                gc.collect()
                collected = True
            time.sleep(0.01)
        return left

    def _left(self, warm: bool) -> list[str]:
        then = [self, *_excused]
        known = {process for one in then for process in one.processes or ()}
        new = set[int]() if self.processes is None else our_processes(but=known)
        threads = frozenset(threading.enumerate()).difference(*(one.threads for one in then))
        present = frozenset(_descriptors().items())
        descriptors = present.difference(*(one.descriptors for one in then))
        meant = [*_shared_pools(), *(driver for driver in self.pools if not driver.closed)]
        if warm and meant:
            new -= _pids_of(meant)
            threads = frozenset(t for t in threads if not t.name.startswith("pmap-"))
            theirs = _descriptors_of(meant)
            descriptors = frozenset(d for d in descriptors if d[0] not in theirs)
            shared = {d for d in present if d[1].startswith("/memfd:pmap")}
            journals = {d for d in shared if d[0] not in theirs}
            if len(journals) <= _journals_of(_open_pools()):
                descriptors -= shared
        return [
            *(f"process {describe_process(pid)}" for pid in sorted(new)),
            *(f"thread {thread!r} at {_where(thread)}" for thread in threads),
            *(f"descriptor {number}: {target}" for number, target in sorted(descriptors)),
        ]


_excused: Final[list[Leftovers]] = []  # what was left by tests that have failed for it


def excuse(before: Leftovers) -> None:
    """End the processes that are new since then, and look away from all else: it was told of.

    One test's leak is that test's failure, and not that of those behind it.
    """
    if before.processes is not None:
        _end_pools(_shared_pools())  # or the next test would find pools whose workers are dead
        end(our_processes(but=before.processes))
    _excused[:] = [Leftovers.now()]


def start_afresh() -> None:
    """End all processes and pools, of which nobody knows what they are at; then look away."""
    pools = [*_shared_pools(), *_open_pools()]
    end(our_processes())
    _end_pools(pools)
    end(our_processes())
    _excused[:] = [Leftovers.now()]


def _end_pools(pools: Iterable[Any]) -> None:
    """End pools, as far as they can be ended: whether one hangs is not for this thread to find."""
    _forget_shared_pools()
    ending = [threading.Thread(target=pool.terminate, daemon=True) for pool in pools]
    for thread in ending:
        thread.start()
    deadline = time.monotonic() + seconds(10)
    for thread in ending:
        thread.join(max(0.0, deadline - time.monotonic()))
