"""Traces of calls in which anything may happen; intervals as sets of moments."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.traces import check

from pmap import Trace
from pmap._trace import recording, records
from pmap._trace.intervals import common, length, minus, union
from pmap._trace.recording import Recording

WORKERS: Final = 3
CHUNK: Final = 4


class Engine:
    """An engine of which a test says what happens next; its clock goes on with each event."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.draw = draw
        self.time = 1000.0
        self.trace = Trace()
        self.recording = Recording(self.trace, None, "f")
        self.next_worker = 0
        self.next_item = 0
        self.held: dict[int, list[list[int]]] = {}  # the items of the chunks of each worker
        self.free: list[int] = []  # items that were reclaimed, or lost
        self.tried: Counter[int] = Counter()
        self.seen: Counter[int] = Counter()  # how often an item had an outcome
        # The clock of a worker, against that of the caller.
        self.shift = self.draw(3) * 1e6 - 1e6

    def now(self) -> float:
        self.time += (1 + self.draw(1000)) / 1000
        return self.time

    def step(self) -> None:
        options = [self.start, self.send, self.send, self.finish, self.finish, self.finish]
        options += [self.kill, self.reclaim]
        options[self.draw(len(options) - 1)]()

    def start(self) -> None:
        if len(self.held) < WORKERS:
            worker = self.next_worker
            self.next_worker += 1
            self.recording.starts(worker)
            if self.draw(5):
                self.recording.ready(worker, 1000 + worker)
                self.held[worker] = []
            else:
                self.recording.gone(worker, 0, None)

    def send(self) -> None:
        if not self.held:
            return
        worker = [*self.held][self.draw(len(self.held) - 1)]
        if self.free:
            items = [self.free.pop()]
        else:
            items = [*range(self.next_item, self.next_item + 1 + self.draw(CHUNK - 1))]
            self.next_item = items[-1] + 1
        self.recording.sent(worker, items[0], items[-1] + 1)
        self.held[worker].append(items)

    def finish(self) -> None:
        busy = [worker for worker, chunks in self.held.items() if chunks]
        if not busy:
            return
        worker = busy[self.draw(len(busy) - 1)]
        items = self.held[worker][0]
        count = self.draw(len(items))
        times = [self.now() + self.shift, 0.0]
        times += [self.now() + self.shift for _ in range(2 * count)]
        times[1] = self.now() + self.shift
        last = count == len(items)
        done = items[:count]
        failed = tuple(index for index in done if not self.draw(6))
        if count or last:
            start = items[0] if items else 0
            self.recording.results(worker, start, count, times, failed, self.tried, last)
            self.seen.update(done)
        del items[:count]
        if last:
            del self.held[worker][0]
        for index in failed:
            if self.draw(1):  # it is tried again
                self.tried[index] += 1
                self.free.append(index)

    def kill(self) -> None:
        if not self.held or self.draw(2):
            return
        worker = [*self.held][self.draw(len(self.held) - 1)]
        chunks = self.held.pop(worker)
        begun = 0
        if chunks:
            salvaged = self.draw(len(chunks[0]))
            if salvaged:
                start = chunks[0][0]
                self.recording.results(worker, start, salvaged, (), (), self.tried, False)
                self.seen.update(chunks[0][:salvaged])
                del chunks[0][:salvaged]
            if chunks[0] and self.draw(1):
                begun = 1
                self.seen[chunks[0].pop(0)] += 1
        self.recording.gone(worker, begun, self.tried)
        self.free += [index for items in chunks for index in items]

    def reclaim(self) -> None:
        """Give what a worker has not begun to one that has nothing, as the scheduler does."""
        idle = [worker for worker, chunks in self.held.items() if not chunks]
        busy = [worker for worker, chunks in self.held.items() if chunks]
        if not idle or not busy:
            return
        chunks = self.held[busy[0]]
        taken = [items[0:] for items in chunks[1:]] + [chunks[0][1:]]
        del chunks[1:], chunks[0][1:]
        for items in taken:
            if items:
                self.recording.sent(idle[0], items[0], items[-1] + 1)
                self.held[idle[0]].append(items)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_spans_are_lawful_whatever_happens(seed: int) -> None:
    drawn = Random(seed)
    engine = Engine(lambda most: drawn.randint(0, most))
    patch = pytest.MonkeyPatch()
    with patch.context() as m:
        m.setattr(recording, "perf_counter", engine.now)
        m.setattr(records, "perf_counter", engine.now)
        warm = dict.fromkeys(range(drawn.randint(0, 2)))
        engine.held = {worker: [] for worker in warm}
        engine.next_worker = len(warm)
        engine.recording.begin(engine, warm)
        for _ in range(drawn.randint(0, 60)):
            engine.step()
        # What still runs when the call ends has no results.
        for chunks in engine.held.values():
            if chunks and chunks[0]:
                engine.seen[chunks[0][0]] += 1
        engine.recording.end(engine.tried)
        check(engine.trace, +engine.seen)


intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def moments(those: Any) -> set[int]:
    return {at for begin, end in those for at in range(begin, end)}


@given(intervals, intervals)
def test_intervals_are_sets_of_moments(some: list[Any], others: list[Any]) -> None:
    one, other = union(some), union(others)
    assert moments(one) == moments(some)
    assert length(one) == len(moments(some))
    assert moments(minus(one, other)) == moments(one) - moments(other)
    assert moments(common(one, other)) == moments(one) & moments(other)
