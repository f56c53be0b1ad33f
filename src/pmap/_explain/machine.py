"""Measures the present speed of the pool and of the machine, for each explanation anew.

A result is not kept for the next explanation, because the machine may have more or fewer processors
to spare a moment later. Measuring takes half a second, and two seconds on a busy machine.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from .model import Overhead
from .trial import Reply, burn, same

# A burn is a computation that only uses a processor, to measure its speed. One burn takes this many
# seconds.
_BURN = 0.0025
# In a measurement, a process makes this many burns (computations that only use a processor).
_IN_A_ROW = 16
_TIMES = 4  # each measurement is made at least this many times
_AGREE = 1.15  # two measurements that differ by no more than this factor count as equal
_LONGEST = 1.5  # seconds after which no measurement is repeated, even if the results differ
# A call of one item is made this many times, to measure what a call costs by itself.
_CALLS = 10
# A measured call of many items should take at least this many seconds; if it does not, it is made
# again with more items.
_LONG_ENOUGH = 0.05
_MOST = 20_000  # a call for measurement has at most this many items
# All items and results of a call for measurement have at most this many bytes together.
_MOST_BYTES = 1 << 26
_LARGEST = 1 << 23  # most bytes of an item and its result in a call for measurement
_STEPS = 10_000


class Runner(Protocol):
    """Runs items in a pool, to measure the pool."""

    @property
    def workers(self) -> int:
        """The number of workers that the pool may have."""
        ...

    @property
    def sends(self) -> bool:
        """Whether items and results are pickled on their way to the workers and back."""
        ...

    def run(
        self,
        function: Callable[[Any], object],
        items: Sequence[object],
        *,
        timeout: float | None = None,
        chunksize: int | None = None,
    ) -> list[Any]:
        """Run the items in the pool and return the results.

        In the place of a failed item's result there is a `Failure`.
        """
        ...


class Pace(NamedTuple):
    """How fast this process and the workers of a pool compute.

    Attributes:
        gain: how many times as fast all workers together compute as this process does. On an idle
            machine that is the number of workers or of processors, whichever is less.
        here: how many times as long this process takes for a computation as one worker alone. On an
            idle machine it is 1. A busy system may share its processors among groups of processes,
            and the workers may be in another group than this process.
    """

    gain: float
    here: float


def pace_of(runner: Runner, cpus: int) -> Pace:
    """Measure how fast this process and the workers of a pool compute."""
    steps = int(_BURN / min(burn(_STEPS) for _ in range(_TIMES)) * _STEPS)
    # Each worker makes as many burns (short computations) as this process. All have to run for
    # equally long, because a busy machine gives more time to a process that has just begun. The
    # burns are short, so that no process waits long for a worker that was held up.
    burns = _IN_A_ROW * min(runner.workers, 2 * cpus)
    # The first round is not measured, because the workers start during it.
    _run_burns(runner, steps, burns, None)
    begin, rounds = perf_counter(), list[tuple[float, float, float]]()
    while len(rounds) < _TIMES or not (_agree(rounds) or perf_counter() - begin > _LONGEST):
        alone = _run_burns(runner, steps, _IN_A_ROW, _IN_A_ROW)
        together = _run_burns(runner, steps, burns, None)
        rounds.append((burn(_IN_A_ROW * steps), alone, together))
    here, alone, together = map(sum, zip(*rounds, strict=True))
    return Pace(here / together * burns / _IN_A_ROW, here / alone)


def _agree(rounds: list[tuple[float, float, float]]) -> bool:
    """Return whether the last measurements agree, which means that the machine is not busy."""
    times = zip(*rounds[-_TIMES:], strict=True)
    return all(max(column) < _AGREE * min(column) for column in times)


def overhead_of(runner: Runner, chunksize: int | None, size_in: int, size_out: int) -> Overhead:
    """Measure what a pool costs in addition to the time of the items themselves.

    Args:
        runner: runs items in the pool.
        chunksize: the `chunksize` of the call.
        size_in: bytes of the argument of an item; 0 for a plain value such as a number.
        size_out: bytes of the result of an item; 0 for a plain value.
    """
    # In the measurement, values have at most `_LARGEST` bytes. Larger values are taken to need more
    # time in proportion to their size.
    scale = max(1.0, (size_in + size_out) / _LARGEST)
    size_in, size_out = int(size_in / scale), int(size_out / scale)
    work = Reply(size_out) if size_out else same

    def seconds(count: int) -> float:
        items: Sequence[object] = [bytes(size_in)] * count if size_in else range(count)
        begin = perf_counter()
        runner.run(work, items, chunksize=chunksize)
        return perf_counter() - begin

    call, spent = float("inf"), 0.0
    for _ in range(_CALLS):
        taken = seconds(1)
        call, spent = min(call, taken), spent + taken
        if spent > _LONG_ENOUGH:
            break
    item, count = float("inf"), 4 * runner.workers
    while True:
        taken = min(seconds(count) for _ in range(2))
        item = min(item, max(0.0, taken - call) / (count - 1))
        count *= 8
        if taken > _LONG_ENOUGH or count > _MOST or count * (size_in + size_out) > _MOST_BYTES:
            return Overhead(call, item * scale)


def _run_burns(runner: Runner, steps: int, count: int, chunksize: int | None) -> float:
    begin = perf_counter()
    runner.run(burn, [steps] * count, chunksize=chunksize)
    return perf_counter() - begin
