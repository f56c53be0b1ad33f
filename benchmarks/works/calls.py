"""Single calls: one after another, a million at once, and awaited."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from .. import processes
from ..peers import Peer, started
from ..work import Figure, Setting, Target, Work, timed

BYTES: Final = 64 << 20  # in a large result
LARGE: Final = 8  # large results
TICK: Final = 0.001  # seconds that the event loop is asked to sleep, again and again


def measure_call(setting: Setting) -> Iterator[tuple[str, float]]:
    """Call and wait, again and again: a thousand times, or for two seconds."""
    times: list[float] = []
    with started(setting.peer, setting.processes) as peer:
        run = partial(peer.call, abs, -1)
        for _ in range(20):
            run()
        end = time.perf_counter() + 2
        while len(times) < 1000 and time.perf_counter() < end:
            times.append(timed(run))
    times.sort()
    yield "p50", times[len(times) // 2] * 1e6
    yield "p99", times[len(times) * 99 // 100] * 1e6


def wait(path: str) -> None:
    """Wait until somebody opens the other end."""
    with open(path, "rb"):
        pass


def tenths(marks: list[float]) -> float:
    """Return the last step over the first one."""
    return (marks[-1] - marks[-2]) / (marks[1] - marks[0])


def measure_pending(setting: Setting) -> Iterator[tuple[str, float]]:
    """Ask for many calls while the workers wait; then let them."""
    with started(setting.peer, setting.processes) as peer, tempfile.TemporaryDirectory() as folder:
        # Enough to see the memory of a call; more would take some peers minutes.
        slow = setting.peer not in ("pmap", "Pool")
        count = 20_000 if slow else 200_000 if setting.quick else 1_000_000
        gate = str(Path(folder) / "gate")
        os.mkfifo(gate)
        held = [peer.submit(wait, gate) for _ in range(setting.processes)]
        calls: list[Callable[[], int]] = []
        memory: list[float] = [processes.resident()]
        times = [time.perf_counter()]
        for tenth in range(10):
            numbers = range(tenth * count // 10, (tenth + 1) * count // 10)
            calls += [peer.submit(abs, number) for number in numbers]
            times.append(time.perf_counter())
            memory.append(processes.resident())
        yield "memory of the caller, each", (memory[-1] - memory[0]) / count
        yield "time to ask, each", (times[-1] - times[0]) / count * 1e6
        yield "memory, the last tenth over the first", tenths(memory)
        yield "time to ask, the last tenth over the first", tenths(times)
        with open(gate, "wb"):
            times = [time.perf_counter()]
            for opened in held:
                opened()
        for number, get in enumerate(calls, 1):
            get()
            if number % (count // 10) == 0:
                times.append(time.perf_counter())
        yield "time to drain, each", (times[-1] - times[0]) / count * 1e6
        # The other way round: most of them wait while the first are drained.
        yield "time to drain, the first tenth over the last", 1 / tenths(times)


async def late(peer: Peer) -> list[float]:
    """Return by how many seconds the loop was late, each time, while large results arrived."""
    times: list[float] = []

    async def tick() -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(TICK)
            times.append(time.perf_counter() - begin - TICK)

    ticking = asyncio.create_task(tick())
    for result in [peer.awaitable(bytes, BYTES) for _ in range(LARGE)]:
        await result
    ticking.cancel()
    return sorted(times)


async def awaited(peer: Peer, count: int) -> tuple[float, float]:
    """Return how many calls a second there are, one by one and gathered."""

    async def one_by_one() -> float:
        begin = time.perf_counter()
        for number in range(count):
            await peer.awaitable(abs, number)
        return count / (time.perf_counter() - begin)

    async def gathered() -> float:
        begin = time.perf_counter()
        await asyncio.gather(*[peer.awaitable(abs, number) for number in range(10 * count)])
        return 10 * count / (time.perf_counter() - begin)

    await peer.awaitable(abs, 0)
    return await one_by_one(), await gathered()


def measure_await(setting: Setting) -> Iterator[tuple[str, float]]:
    """Await calls; and look how free the event loop is while large results arrive."""
    with started(setting.peer, setting.processes) as peer:
        single, gathered = asyncio.run(awaited(peer, 1000))
        yield "one by one", single
        yield "gathered", gathered
        asyncio.run(late(peer))
        times = asyncio.run(late(peer))
        yield "lag of the event loop, p50", times[len(times) // 2] * 1e3
        yield "lag of the event loop, p99", times[len(times) * 99 // 100] * 1e3
        yield "lag of the event loop, max", times[-1] * 1e3


WORKS: Final = (
    Work(
        "call",
        "One blocking call of `abs`, warm",
        (
            Figure("p50", "us", (Target(0.65),)),
            Figure("p99", "us", (Target(0.65),)),
        ),
        measure_call,
    ),
    Work(
        "pending",
        "A million pending calls of `abs`",
        (
            Figure("memory of the caller, each", "bytes", (Target(0.35),)),
            Figure("time to ask, each", "us", (Target(1.0),)),
            Figure("time to drain, each", "us", (Target(0.6),)),
            Figure("memory, the last tenth over the first", "x", (Target(1.1, None),)),
            Figure("time to ask, the last tenth over the first", "x", (Target(1.25, None),)),
            Figure("time to drain, the first tenth over the last", "x", (Target(1.25, None),)),
        ),
        measure_pending,
        ("pmap", "Pool", "PPE", "loky", "mpire", "pebble"),
        limit=180,
    ),
    Work(
        "await",
        "Awaited calls of `abs`; and the event loop while results of 64 MB arrive",
        (
            Figure("one by one", "calls/s", (Target(1.5, "PPE"),), more=True),
            Figure("gathered", "calls/s", (Target(1.5, "PPE"),), more=True),
            Figure("lag of the event loop, p50", "ms"),
            Figure("lag of the event loop, p99", "ms", (Target(20, None),)),
            Figure("lag of the event loop, max", "ms"),
        ),
        measure_await,
        ("pmap", "PPE", "loky", "pebble"),
    ),
)
