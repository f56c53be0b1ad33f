"""Traces of items in worker processes: every way in which an item can end, and what is sent."""

import asyncio
import os
import signal
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.files import mark, marks
from tests.items import modules_of_pmap
from tests.limits import TIME_LIMIT, until
from tests.scripts import run_script
from tests.traces import check, check_spans, check_sums, saved

from pmap import Failure, TaskTimeout, Trace, WorkerLost, call, papply, pcall, pmap, pstarmap, sync
from pmap._backends import connection as _connection
from pmap._scheduling.run_rules import RunRules
from pmap._transport import protocol

if TYPE_CHECKING:
    from pmap._types import StartMethod

two = pmap.using(processes=2)


def text(x: int) -> str:
    return str(x)


@pytest.mark.parametrize("function", [abs, text])
@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_items_of_each_start_method(
    function: Any, chunksize: int | None, start_method: "StartMethod"
) -> None:
    trace = Trace()
    verb = two.using(start_method=start_method, chunksize=chunksize, trace=trace)
    assert verb(function, range(100)) == [function(x) for x in range(100)]
    spans = check(trace, 100)
    items = [span for span in spans if span.kind == "item"]
    assert all(span.seconds > 0 for span in items)
    pids = {span.pid for span in items}
    assert os.getpid() not in pids
    assert None not in pids
    # All of it happened while the call ran: both clocks are one.
    assert all(part.shift == 0 for part in trace._records.snapshot().parts)


def test_every_form(tmp_path: Path) -> None:
    trace, path = Trace(), tmp_path / "run.json"
    assert two.async_(abs, [-1, 2], trace=trace).get(TIME_LIMIT) == [1, 2]
    assert [*two.iter(abs, iter([-1, 2]), trace=trace)] == [1, 2]
    assert sorted(two.iter_unordered(abs, [-1, 2], trace=trace)) == [1, 2]
    assert pstarmap(pow, [(2, 3), (3, 2)], processes=2, trace=trace) == [8, 9]
    assert papply.using(processes=2, trace=trace)(abs, -1) == 1
    assert pcall.using(processes=2, trace=trace)(call(abs, -1), call(abs, 2)) == (1, 2)
    check(trace, {0: 6, 1: 5})
    assert two(abs, [-1], seed=1, trace=path) == [1]
    assert "pmap(abs)" in saved(path)


def end_or_text(folder: str, x: int, ends: int, tries: int) -> str:
    mark(folder, f"{x}-")
    if x == ends and sum(name == f"{x}-" for name in marks(folder)) <= tries:
        os._exit(3)
    return str(x)


def test_what_a_worker_took_with_it_is_lost_time(
    tmp_path: Path, start_method: "StartMethod"
) -> None:
    trace = Trace()
    verb = two.using(start_method=start_method, chunksize=5, trace=trace)
    arguments = [str(tmp_path)] * 10, range(10), [3] * 10, [9] * 10
    results = verb.collecting(end_or_text, *arguments)
    assert [x for x, result in enumerate(results) if isinstance(result, Failure)] == [3]
    spans = check(trace, 10)
    (lost,) = [span for span in spans if span.kind == "lost"]
    # The items before it have results; but their times were in the worker.
    assert lost.item_index is not None
    assert lost.item_index + lost.items == 4
    assert trace.summary().failed == lost.items


def test_a_lost_item_is_tried_again(tmp_path: Path) -> None:
    trace = Trace()
    arguments = [str(tmp_path)] * 3, range(3), [1] * 3, [1] * 3
    results = two(end_or_text, *arguments, chunksize=1, retries=1, trace=trace)
    assert results == ["0", "1", "2"]
    spans = check(trace, {0: 1, 1: 2, 2: 1})
    tries = [
        (one.kind, one.attempt) for one in spans if one.item_index == 1 and one.kind != "chunk"
    ]
    assert sorted(tries) == [("item", 2), ("lost", 1)]


def forever(x: int) -> int:
    while x == 1:
        signal.pause()
    return x


@pytest.mark.parametrize("chunksize", [1, 3])
def test_an_item_that_takes_too_long_is_lost_time(chunksize: int) -> None:
    trace = Trace()
    results = two.collecting(forever, range(3), timeout=0.1, chunksize=chunksize, trace=trace)
    assert isinstance(results[1], Failure)
    assert isinstance(results[1].error, TaskTimeout)
    check(trace, 3)
    assert trace.summary().lost > 0.09


def test_a_thread_that_is_given_up_is_lost_time(tmp_path: Path) -> None:
    trace, folder = Trace(), str(tmp_path)

    def wait(x: int) -> int:
        until(lambda: x != 1 or "go" in marks(folder), "the end of the test")
        return x

    verb = pmap.using(backend="threads", processes=2)
    results = verb.collecting(wait, range(3), timeout=0.05, chunksize=1, trace=trace)
    mark(folder, "go")
    assert isinstance(results[1], Failure)
    check(trace, 3)


def test_a_call_that_is_cancelled_has_what_it_ran(tmp_path: Path) -> None:
    trace, folder = Trace(), str(tmp_path)

    def begin(x: int) -> int:
        mark(folder, str(x))
        return forever(x)

    later = two.async_(begin, range(1, 100), chunksize=1, trace=trace)
    until(lambda: {"1", "5"} <= {*marks(folder)}, "the item that never ends")
    assert later.cancel()
    later.wait(TIME_LIMIT)
    spans = trace.spans()
    check_spans(spans)
    check_sums(trace, spans)
    assert 0 in [span.item_index for span in spans if span.kind == "lost"]


def test_each_process_of_isolated_items_has_a_place_in_few_rows() -> None:
    trace = Trace()
    verb = two.using(isolate=True, start_method="forkserver", trace=trace)
    assert len({*verb(lambda _: os.getpid(), range(6))}) == 6
    spans = check(trace, 6)
    assert len({span.pid for span in spans if span.kind == "item"}) == 6
    assert trace.summary().workers <= 4  # two at a time, and as many that are ending
    assert trace.summary().starting > 0


begun: list[asyncio.Event] = []


async def after(x: int) -> int:
    begun.append(asyncio.Event())
    if len(begun) == 4:  # all of them wait at the same time
        for event in begun:
            event.set()
    await begun[-1].wait()
    return x


def test_coroutines_overlap() -> None:
    trace = Trace()
    verb = pmap.using(processes=1, chunksize=4, trace=trace)
    assert verb(sync(after), range(4)) == [0, 1, 2, 3]
    spans = check(trace, 4, coroutines=True)
    items = [span for span in spans if span.kind == "item"]
    assert max(span.start for span in items) < min(span.stop for span in items)


class CannotBeLoaded:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_an_item_whose_argument_cannot_be_loaded_has_no_time() -> None:
    trace = Trace()
    items = [1, CannotBeLoaded(), 3]
    results = two.collecting(str, items, chunksize=3, trace=trace)
    assert [isinstance(result, Failure) for result in results] == [False, True, False]
    spans = check(trace, 3)
    middle = next(span for span in spans if span.kind == "item" and span.item_index == 1)
    assert (middle.seconds, middle.failed) == (0, 1)


def test_large_results_are_sent_in_parts() -> None:
    trace = Trace()
    pmap(lambda x: np.full(1 << 17, x), range(5), processes=1, chunksize=5, trace=trace)
    check(trace, 5)
    parts = trace._records.snapshot().parts
    assert len(parts) > 1


def test_a_function_that_cannot_be_loaded(tmp_path: Path) -> None:
    trace = Trace()
    results = two.collecting(CannotBeCalled(), range(3), chunksize=3, trace=trace)
    assert all(isinstance(result, Failure) for result in results)
    check(trace, 3)


class CannotBeCalled:
    def __reduce__(self) -> Any:
        return int, ("not a number",)

    def __call__(self, x: int) -> int:
        raise NotImplementedError


def test_a_pool_that_is_warm_and_workers_of_which_a_trace_does_not_know() -> None:
    verb = pmap.using(processes=2, max_tasks_per_child=2, chunksize=1)
    verb(abs, range(10))
    trace = Trace()
    verb(abs, range(10), trace=trace)
    with pytest.raises(WorkerLost):
        verb(lambda x: os._exit(x), [1])  # a worker ends while nothing is traced
    verb(abs, range(10), trace=trace)
    check(trace, dict.fromkeys(range(10), 2))


# --- what it costs -------------------------------------------------------------------------------


def test_a_call_that_is_not_traced_has_not_a_byte_more() -> None:
    off, on = RunRules().for_worker(), RunRules(times=True).for_worker()
    assert (*off, True) == on
    environment: Any = None
    about: Any = (1, (), (), [], off, environment, [[b"", 0]])
    message = protocol.make_call_spec(*about)
    assert len(message) == 6 + len(off) + 1


def words_of_results(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of words of each RESULTS message."""
    found: list[int] = []
    taken = _connection.Connection._on_message

    def take(self: _connection.Connection, message: Any) -> Any:
        if message[0] == protocol.RESULTS:
            found.append(len(message))
        return taken(self, message)

    monkeypatch.setattr(_connection.Connection, "_on_message", take)
    return found


def test_times_come_home_with_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    found = words_of_results(monkeypatch)
    # One worker: no chunk is divided between two.
    verb = pmap.using(processes=1, chunksize=10, start_method="spawn", max_tasks_per_child=10_000)
    before = verb(modules_of_pmap, range(100))
    off = found.copy()
    found.clear()
    trace = Trace()
    after = verb(modules_of_pmap, range(100), trace=trace)
    assert {*off} == {7}
    assert {*found} == {8}
    assert len(found) == len(off) == 10
    of_times = {"pmap._worker.timing", "pmap._worker.timed_items", "pmap._transport.times"}
    assert not of_times.intersection(*before)
    assert of_times <= {*after[0]}
    # Back to what it was: the same workers take no times any more.
    found.clear()
    verb(modules_of_pmap, range(100))
    assert {*found} == {7}


# --- as a user would -----------------------------------------------------------------------------


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    script = """\
        from pmap import Trace, pmap

        def work(x):
            return pmap(abs, [x, -x], trace=True) and sum(range(x))

        print(sum(pmap(work, range(100), trace="run.svg", processes=2)))
        print(str(Trace.last().summary()).splitlines()[0].partition(" in ")[0])
        Trace.last().save("run.json")
    """
    printed = run_script(tmp_path, textwrap.dedent(script))
    assert printed == ["161700", "100 items"]
    assert "pmap(work)" in saved(tmp_path / "run.svg")
    saved(tmp_path / "run.json")
