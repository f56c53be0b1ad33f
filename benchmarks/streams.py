"""Streams beside ``Pool.imap``; what they leave in memory; and how they keep an event loop free.

As in core.py, both sides run in turn, a ratio is made of two neighbours in time, and nothing is
asserted: see README.md for how to read the numbers.
"""

import asyncio
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from time import perf_counter
from typing import Final

from side_by_side import Case, StartMethod, asked, head, measure, row, timed

import pmap as ours

ITEMS: Final = 1_000_000
# Of these Pool.imap runs so many: an item of its takes as long, however many there are, and all of
# them would take minutes.
THEIR_ITEMS: Final = 50_000
SINGLE_ITEMS: Final = 20_000  # of a stream with chunksize=1
SETTLED: Final = 100_000  # items after which memory is looked at for the first time
BYTES: Final = 64 << 20  # in a large result
LARGE: Final = 8  # large results in a round
TICK: Final = 0.001  # seconds that the event loop is asked to sleep, again and again


def exhaust(results: Iterable[object]) -> None:
    """Take all results, and keep none."""
    deque(results, maxlen=0)


def cases(method: StartMethod, processes: int, pool: Pool) -> list[Case]:
    """Return the cases that have two sides. All times are those of one item."""
    verb = ours.pmap.using(processes=processes, start_method=method)

    def our_default() -> float:
        return timed(lambda: exhaust(verb.iter(abs, range(ITEMS)))) / ITEMS

    def our_unordered() -> float:
        return timed(lambda: exhaust(verb.iter_unordered(abs, range(ITEMS)))) / ITEMS

    def our_single() -> float:
        stream = partial(verb.iter, abs, range(SINGLE_ITEMS), chunksize=1)
        return timed(lambda: exhaust(stream())) / SINGLE_ITEMS

    def their_default() -> float:
        return timed(lambda: exhaust(pool.imap(abs, range(THEIR_ITEMS)))) / THEIR_ITEMS

    def their_unordered() -> float:
        return timed(lambda: exhaust(pool.imap_unordered(abs, range(THEIR_ITEMS)))) / THEIR_ITEMS

    def their_single() -> float:
        return timed(lambda: exhaust(pool.imap(abs, range(SINGLE_ITEMS)))) / SINGLE_ITEMS

    sizes = f"{ITEMS:_} items to Pool's {THEIR_ITEMS:_}, each"
    return [
        Case(f"default settings, {sizes}", our_default, their_default, target=0.05, unit="us"),
        Case(f"unordered, {sizes}", our_unordered, their_unordered, unit="us"),
        Case(f"`chunksize=1`, {SINGLE_ITEMS:_} items, each", our_single, their_single, unit="us"),
    ]


def resident() -> float | None:
    """Return the memory of this process in MB; None where the system does not say it so."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    for line in status.read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


def growth(method: StartMethod, processes: int) -> float | None:
    """Return by how many MB this process grows between two items of a stream."""
    before = after = resident()
    stream = ours.pmap.iter(abs, range(ITEMS), processes=processes, start_method=method)
    for number, _ in enumerate(stream, 1):
        if number == SETTLED:
            before = resident()
        elif number == ITEMS:
            after = resident()
    return None if before is None or after is None else after - before


async def lags(method: StartMethod, processes: int) -> list[float]:
    """Return by how many seconds the loop was late, each time, while large results arrived."""
    late: list[float] = []

    async def tick() -> None:
        while True:
            begin = perf_counter()
            await asyncio.sleep(TICK)
            late.append(perf_counter() - begin - TICK)

    ticking = asyncio.create_task(tick())
    sizes = [BYTES] * LARGE
    async for _ in ours.pmap.iter(bytes, sizes, processes=processes, start_method=method):
        pass
    ticking.cancel()
    return late


def alone(method: StartMethod, processes: int, rounds: int) -> list[list[str]]:
    """Return the lines of what only we are measured by."""
    table: list[list[str]] = []
    grown = [by for _ in range(rounds) if (by := growth(method, processes)) is not None]
    if grown:
        least, most = (f"{by(grown):+.1f} MB" for by in (min, max))
        middle = f"{statistics.median(grown):+.1f} MB"
        name = f"memory, from item {SETTLED:_} to item {ITEMS:_}"
        table.append([name, middle, least, most, "within 5 MB"])
    asyncio.run(lags(method, processes))
    percentiles: dict[str, list[float]] = {"p50": [], "p99": [], "max": []}
    for _ in range(rounds):
        late = sorted(asyncio.run(lags(method, processes)))
        percentiles["p50"].append(late[len(late) // 2])
        percentiles["p99"].append(late[len(late) * 99 // 100])
        percentiles["max"].append(late[-1])
    for name, of in percentiles.items():
        shown = [f"{by(of) * 1e3:.1f} ms" for by in (statistics.median, min, max)]
        target = "<= 20 ms" if name == "p99" else ""
        table.append([f"lag of the event loop, {name}", *shown, target])
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    method, processes, rounds, only = asked(__doc__, arguments, rounds=5)
    print(head(method, processes, rounds), flush=True)
    with get_context(method).Pool(processes) as pool:
        for case in cases(method, processes, pool):
            if only in case.name:
                print(row(measure(case, rounds)), flush=True)
    if only:
        return
    print("\n| pmap alone | median | min | max | target |\n|---|---:|---:|---:|---:|", flush=True)
    for cells in alone(method, processes, rounds):
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
