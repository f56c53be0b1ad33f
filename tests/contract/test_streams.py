"""Streams keep the laws on every backend and start method.

How much of the input is read is counted, not guessed: `Counted` knows at each read how many results
its consumer has taken.
"""

import contextvars
import gc
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends import BACKENDS, Settings
from tests.contract.functions import (
    die_at,
    fail_in,
    first_fails_when_told,
    interrupt_at,
    pid_and_wait,
    variable,
    wait_to_go,
)
from tests.files import mark, marks, wait_for_file
from tests.items import square, work_pid
from tests.limits import TIME_LIMIT, until
from tests.processes import descendants

from pmap import CancelledError, Failure, Map, Pool, PoolClosedError, WorkerLost, pmap, pstarmap

if TYPE_CHECKING:
    from pmap import ResultStream

SIZES = st.one_of(st.none(), st.integers(1, 9))
PROCESSES = [b for b in BACKENDS if b.processes]


class Counted(Iterator[int]):
    """An input of `size` items that counts its reads, and knows how many may be made."""

    def __init__(self, size: int | None, bound: int | None = None) -> None:
        self.size = size
        self.bound = bound
        self.reads = 0
        self.taken = 0
        self.threads: set[int] = set()

    def __next__(self) -> int:
        self.threads.add(threading.get_ident())
        if self.reads == self.size:
            raise StopIteration
        self.reads += 1
        if self.bound is not None:
            assert self.reads <= self.taken + self.bound, "it reads too far ahead"
        return self.reads - 1


class Slow(Counted):
    """Each read takes longer than a stream may spend on reading while a result is there."""

    def __next__(self) -> int:
        end = perf_counter() + 0.002
        while perf_counter() < end:
            pass
        return super().__next__()


def closing(closed: list[bool], numbers: Iterator[int]) -> Iterator[int]:
    """Yield the numbers; note when the generator is closed."""
    try:
        yield from numbers
    finally:
        closed.append(True)


def here(_: int) -> int:
    """Return the thread that this runs in."""
    return threading.get_ident()


def begin_and_wait(folder: str, x: int) -> int:
    """Note that an item begins; those from 1000 on wait to be ended."""
    mark(folder, x)
    if x >= 1000:
        wait_for_file(f"{folder}/never")
    return x


def inner_stream(x: int) -> list[int]:
    """Use a stream inside an item."""
    with pmap.iter(square, itertools.count()) as results:
        return [next(results) for _ in range(x)]


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


# --- laws 1 and 4: results and order -------------------------------------------------------------


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(size=st.integers(0, 60), chunksize=SIZES, buffersize=SIZES, processes=st.integers(1, 3))
def test_results_are_those_of_map(
    backend: Settings, size: int, chunksize: int | None, buffersize: int | None, processes: int
) -> None:
    verb = pmap.using(**backend.options(processes)).using(
        chunksize=chunksize, buffersize=buffersize
    )
    source = Counted(size, buffersize)
    taken: list[int] = []
    for result in verb.iter(square, source):
        taken.append(result)
        source.taken = len(taken)
    assert taken == [x * x for x in range(size)]
    assert source.reads == size
    source = Counted(size, buffersize)
    taken.clear()
    for result in verb.iter_unordered(square, source):
        taken.append(result)
        source.taken = len(taken)
    assert Counter(taken) == Counter(x * x for x in range(size))


@pytest.mark.parametrize("items", [0, 1, 2, 3, 40], ids="items={}".format)
def test_workers_fewer_equal_and_more_than_items(backend: Settings, items: int) -> None:
    for processes in (1, 2, 3):
        verb = pmap.using(**backend.options(processes))
        assert list(verb.iter(square, range(items))) == [x * x for x in range(items)]


def test_several_iterables_end_with_the_shortest(each: Map) -> None:
    assert list(each.iter(pow, itertools.count(2), [5, 2])) == [32, 9]
    assert list(each.iter(max, [1, 9], [5, 5], [3, 3])) == [5, 9]


def test_rows(backend: Settings) -> None:
    star = pstarmap.using(**backend.options())
    rows = ((x, 2) for x in range(20))
    assert list(star.iter(pow, rows)) == [x * x for x in range(20)]
    assert sorted(star.iter_unordered(pow, [(2, 3), (3, 2)])) == [8, 9]


def test_a_result_comes_as_soon_as_it_is_its_turn(tmp_path: Path, process: Settings) -> None:
    stream = (
        pmap.using(**process.options())
        .using(chunksize=1)
        .iter(partial(wait_to_go, str(tmp_path)), [0, 1, 2])
    )
    with stream:
        (tmp_path / "0").touch()
        assert next(stream) == 0  # while the others wait
        (tmp_path / "2").touch()
        with pytest.raises(multiprocessing.TimeoutError):
            stream.next(timeout=0.05)
        (tmp_path / "1").touch()
        assert list(stream) == [1, 2]


def test_unordered_waits_for_nobody(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options()).using(chunksize=1)
    with verb.iter_unordered(partial(wait_to_go, str(tmp_path)), [0, 1]) as stream:
        (tmp_path / "1").touch()
        assert next(stream) == 1
        (tmp_path / "0").touch()
        assert list(stream) == [0]


# --- law 6: how far the input is read ------------------------------------------------------------


def test_nothing_is_read_before_the_first_result_is_asked_for(each: Map) -> None:
    source = Counted(None)
    with each.iter(square, source, buffersize=3) as stream:
        assert source.reads == 0
        assert next(stream) == 0
        reads = source.reads
        assert 1 <= reads <= 3
        assert stream.read == reads
        assert stream.taken == 1
    assert source.reads == reads, "closing reads nothing"


def test_the_bound_holds_with_an_endless_input(each: Map) -> None:
    for bound in (1, 2, 7):
        source = Counted(None, bound)
        with each.iter(square, source, buffersize=bound) as stream:
            for source.taken in range(1, 30):
                assert next(stream) == (source.taken - 1) ** 2
        assert source.reads <= 29 + bound


def test_there_is_a_bound_by_default(each: Map) -> None:
    source = Counted(None)
    with each.iter(square, source) as stream:
        for _ in range(5):
            next(stream)
    assert source.reads <= 5 + (1 << 14)


def test_the_input_is_read_by_the_thread_that_asks(each: Map) -> None:
    source = Counted(50)
    assert sum(each.iter(square, source)) == sum(x * x for x in range(50))
    assert source.threads == {threading.get_ident()}


def test_five_and_no_more(tmp_path: Path, process: Settings) -> None:
    """Taking five and stopping leaves at most `buffersize` begun, and ends them."""
    verb = pmap.using(**process.options()).using(chunksize=1, buffersize=4)
    source = itertools.chain(range(5), itertools.count(1000))
    with verb.iter(partial(begin_and_wait, str(tmp_path)), source) as stream:
        assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
    begun = marks(tmp_path)
    assert len(begun) <= 5 + 4
    assert len({*begun}) == len(begun)
    # What ran is ended: the workers are free for others at once.
    assert verb(square, range(4)) == [0, 1, 4, 9]


def test_nothing_is_read_while_nobody_asks(each: Map, backend: Settings, tmp_path: Path) -> None:
    source = Counted(None, 6)
    function = partial(fail_in, frozenset[int](), str(tmp_path))
    with each.iter(function, source, buffersize=6, chunksize=1) as stream:
        assert next(stream) == 0
        reads = source.reads
        if backend.name != "serial":  # that one runs nothing either
            until(lambda: len(marks(tmp_path)) == reads, "the end of all that was read")
        assert each(square, [3]) == [9]
        assert source.reads == reads <= 6
    assert source.reads == reads
    assert len(marks(tmp_path)) <= reads


def test_the_input_sees_the_context_of_who_asks(each: Map) -> None:
    seen: list[str] = []

    def source() -> Iterator[int]:
        while True:
            seen.append(variable.get())
            yield len(seen)

    def consume(name: str) -> None:
        variable.set(name)
        for _ in range(10):
            next(stream)

    with each.iter(square, source(), buffersize=1) as stream:
        for name in ("a", "b"):
            contextvars.copy_context().run(consume, name)
    assert seen == ["a"] * 10 + ["b"] * 10


def test_what_was_begun_in_vain_does_not_run_any_more(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options()).using(chunksize=1, buffersize=4)
    with verb.iter(partial(pid_and_wait, str(tmp_path), 5), itertools.count()) as stream:
        assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(multiprocessing.TimeoutError):
            stream.next(timeout=0.01)  # reads, so that others begin
        until(lambda: len(marks(tmp_path)) >= 7, "both workers being busy")
    begun = dict(mark.split(":") for mark in marks(tmp_path))
    assert len(begun) == len(marks(tmp_path)) <= 5 + 4
    running = {int(pid) for x, pid in begun.items() if int(x) >= 5}
    assert not running & descendants(), "they are gone when the block is left"
    assert verb(square, range(4)) == [0, 1, 4, 9]
    assert len(marks(tmp_path)) == len(begun)


def test_slow_input_does_not_hold_up_a_result(tmp_path: Path, concurrent: Settings) -> None:
    source = Slow(None, 4)
    verb = pmap.using(**concurrent.options(4)).using(chunksize=1, buffersize=4)
    with verb.iter(partial(wait_to_go, str(tmp_path)), source) as stream:

        def release() -> None:
            until(lambda: len(marks(tmp_path)) == 4, "all items of the buffer beginning")
            for x in range(4):
                (tmp_path / str(x)).touch()

        thread = threading.Thread(target=release)
        thread.start()
        assert next(stream) == 0
        thread.join()
        until(lambda: stream._stream_job.has(3) and stream._stream_job.done == 4, "their end")
        assert source.reads == 4
        assert [next(stream) for _ in range(3)] == [1, 2, 3]
        assert source.reads == 4
        (tmp_path / "4").touch()
        (tmp_path / "5").touch()  # which it may be waiting for when the block is left
        (tmp_path / "6").touch()
        (tmp_path / "7").touch()
        source.taken = 4
        assert next(stream) == 4
        assert source.reads > 4


# --- errors --------------------------------------------------------------------------------------


def test_a_failure_comes_in_its_place_and_ends_the_stream(each: Map) -> None:
    stream = each.iter(invert, [1, 2, 0, 4])
    assert [next(stream), next(stream)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(stream)
    notes = "\n".join(caught.value.__notes__)
    assert "item 2, invert(0)" in notes
    assert ".collecting" in notes
    with pytest.raises(StopIteration):
        next(stream)


def test_failures_can_be_values(each: Map) -> None:
    results = list(each.collecting.iter(invert, [1, 0, 4, 0]))
    assert [type(r) for r in results] == [float, Failure, float, Failure]
    assert [r.index for r in results if isinstance(r, Failure)] == [1, 3]
    assert Counter(map(type, each.collecting.iter_unordered(invert, [1, 0, 4]))) == {
        float: 2,
        Failure: 1,
    }


def test_the_inputs_own_exception_comes_after_all_results(each: Map) -> None:
    def broken() -> Iterator[int]:
        yield from range(7)
        raise LookupError("no more pages")

    stream = each.iter(square, broken())
    assert [next(stream) for _ in range(7)] == [x * x for x in range(7)]
    with pytest.raises(LookupError, match="no more pages") as caught:
        next(stream)
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(StopIteration):
        next(stream)


def test_a_lost_worker_costs_one_item(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options()).collecting
    results = list(verb.iter(partial(die_at, str(tmp_path), 11), range(40)))
    assert [r for r in results if not isinstance(r, Failure)] == [
        x * x for x in range(40) if x != 11
    ]
    (lost,) = [r for r in results if isinstance(r, Failure)]
    assert isinstance(lost.error, WorkerLost)
    assert lost.index == 11
    assert Counter(marks(tmp_path)) == Counter(map(str, range(40))), "each began once"


def test_a_lost_worker_is_an_error_in_its_place(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options())
    stream = verb.iter(partial(die_at, str(tmp_path), 7), range(40), buffersize=10)
    assert [next(stream) for _ in range(7)] == [x * x for x in range(7)]
    with pytest.raises(WorkerLost) as caught:
        next(stream)
    assert caught.value.index == 7
    assert ".collecting" in caught.value.__notes__[-1]
    assert list(stream) == []
    stream.close()
    begun = Counter(marks(tmp_path))
    assert {*begun.values()} == {1}
    assert len(begun) <= stream.read <= 7 + 10


def test_unordered_raises_behind_what_came_before(tmp_path: Path, concurrent: Settings) -> None:
    verb = pmap.using(**concurrent.options()).using(chunksize=1)
    stream = verb.iter_unordered(partial(first_fails_when_told, str(tmp_path)), range(4))
    assert sorted(next(stream) for _ in range(3)) == [1, 2, 3]
    (tmp_path / "go").touch()
    with pytest.raises(LookupError, match="the first"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


# --- leaving early -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["with", "close", "drop", "fail"])
def test_a_generator_is_closed_when_the_stream_is_left(each: Map, how: str) -> None:
    closed: list[bool] = []

    def numbers() -> Iterator[int]:
        try:
            yield from itertools.count(1)
        finally:
            closed.append(True)

    if how == "with":
        with each.iter(square, numbers()) as stream:
            next(stream)
    elif how == "close":
        stream = each.iter(square, numbers())
        next(stream)
        stream.close()
    elif how == "drop":
        for _ in each.iter(square, numbers()):
            break
        gc.collect()
    else:
        source = (3 - x for x in numbers())
        with pytest.raises(ZeroDivisionError):
            list(each.iter(invert, source))
        del source
        gc.collect()
    assert closed == [True]


def test_what_is_no_generator_is_left_open(each: Map, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\nc\n")
    with path.open(encoding="ascii") as file:
        with each.iter(len, file, buffersize=1) as stream:
            assert next(stream) == 2
        assert not file.closed


def test_an_iterator_with_a_close_of_its_own_is_left_open(each: Map) -> None:
    class Closable(Counted):
        closed = False

        def close(self) -> None:
            self.closed = True

    source = Closable(None)
    with each.iter(square, source, buffersize=2) as stream:
        assert next(stream) == 0
    with pytest.raises(ZeroDivisionError):
        list(each.iter(invert, source.__class__(3)))
    assert not source.closed


def test_all_generators_side_by_side_are_closed(each: Map) -> None:
    closed: list[bool] = []
    sources = [closing(closed, itertools.count()) for _ in range(2)]
    with each.iter(max, *sources) as stream:
        assert next(stream) == 0
    assert closed == [True, True]


def test_a_stream_that_only_the_collector_finds(tmp_path: Path, concurrent: Settings) -> None:
    verb = pmap.using(**concurrent.options()).using(chunksize=1, buffersize=2)
    stream = verb.iter(partial(wait_to_go, str(tmp_path)), itertools.count())
    driver = stream._driver
    (tmp_path / "0").touch()
    assert next(stream) == 0
    until(lambda: "1" in marks(tmp_path), "the next item beginning")
    circle: list[object] = [stream]
    circle.append(circle)
    del stream, circle
    gc.collect()
    (tmp_path / "1").touch()  # a thread cannot be killed
    (tmp_path / "2").touch()
    until(lambda: not driver.busy, "the end of its job")
    assert verb(square, range(4)) == [0, 1, 4, 9]


def test_a_stream_with_a_pool_of_its_own(process: Settings) -> None:
    # Arguments that cannot be a key: a pool for this call, which goes with the stream.
    verb = pmap.using(**process.options()).using(initializer=len, initargs=([],))
    for stream in (verb.iter(square, itertools.count()), verb.iter(square, iter(range(3)))):
        assert [next(stream) for _ in range(3)] == [0, 1, 4]
        stream.close()
    assert list(verb.iter_unordered(square, [3])) == [9]


def test_an_abandoned_stream_ends_what_it_runs(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options()).using(chunksize=1, buffersize=2)
    source = itertools.chain([0], itertools.count(1000))
    stream = verb.iter(partial(begin_and_wait, str(tmp_path)), source)
    assert next(stream) == 0
    with pytest.raises(multiprocessing.TimeoutError):
        stream.next(timeout=0.01)  # reads, so that others begin
    del stream
    gc.collect()
    assert verb(square, range(4)) == [0, 1, 4, 9], "the workers are free"


def test_kill_on_cancel_can_be_turned_off(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options()).using(chunksize=1, buffersize=2, kill_on_cancel=False)
    with verb.iter(partial(wait_to_go, str(tmp_path)), [0, 1]) as stream:
        (tmp_path / "0").touch()
        assert next(stream) == 0
        until(lambda: "1" in marks(tmp_path))
        pids = {*pmap.using(**process.options())(work_pid, range(8), chunksize=1)}
    (tmp_path / "1").touch()
    again = {*pmap.using(**process.options())(work_pid, range(20), chunksize=1)}
    assert pids <= again, "no worker was ended"


def test_closed_from_another_thread_while_its_consumer_waits(
    tmp_path: Path, process: Settings
) -> None:
    verb = pmap.using(**process.options()).using(chunksize=1)
    stream = verb.iter(partial(wait_to_go, str(tmp_path)), [7])

    def close() -> None:
        until(lambda: marks(tmp_path) == ["7"])
        stream.close()

    thread = threading.Thread(target=close)
    thread.start()
    with pytest.raises(CancelledError, match="closed"):
        next(stream)
    thread.join()
    with pytest.raises(CancelledError):
        next(stream)


def test_closed_while_the_first_input_is_read(each: Map, tmp_path: Path) -> None:
    reading, closed = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        reading.set()
        assert closed.wait(TIME_LIMIT)
        yield from range(3)

    numbers = source()
    stream = each.iter(partial(fail_in, frozenset[int](), str(tmp_path)), numbers)

    def close() -> None:
        assert reading.wait(TIME_LIMIT)
        stream.close()
        closed.set()

    thread = threading.Thread(target=close)
    thread.start()
    with pytest.raises(CancelledError, match="closed"):
        next(stream)
    thread.join()
    assert list(numbers) == [], "the reader has closed it"
    until(lambda: not stream._driver.busy, "the end of its job")
    assert marks(tmp_path) == [], "nothing runs of a stream that is closed"


def test_closed_by_its_own_input(each: Map) -> None:
    streams: list[ResultStream[int]] = []
    closed: list[bool] = []

    def source() -> Iterator[int]:
        yield 1
        streams[0].close()
        yield 2

    streams.append(each.iter(square, closing(closed, source())))
    with pytest.raises(CancelledError):
        list(streams[0])
    assert closed == [True]
    until(lambda: not streams[0]._driver.busy, "the end of its job")


def test_terminated_while_its_consumer_waits(tmp_path: Path, process: Settings) -> None:
    context: Any = multiprocessing.get_context(process.start_method)
    pool = Pool(1, context=context)
    stream = pmap.using(pool=pool).iter(partial(wait_to_go, str(tmp_path)), [7])

    def terminate() -> None:
        until(lambda: marks(tmp_path) == ["7"])
        pool.terminate()

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(CancelledError, match="terminated"):
        next(stream)
    thread.join()
    pool.join()


def test_a_timeout_leaves_nothing(tmp_path: Path, concurrent: Settings) -> None:
    verb = pmap.using(**concurrent.options())
    with verb.iter(partial(wait_to_go, str(tmp_path)), [7]) as stream:
        for _ in range(10):
            with pytest.raises(multiprocessing.TimeoutError):
                stream.next(timeout=0.001)
        assert stream._stream_job._notifier._waiting == []
        (tmp_path / "7").touch()
        assert stream.next(timeout=TIME_LIMIT) == 7


def test_closing_twice_and_asking_afterwards(each: Map) -> None:
    stream = each.iter(square, itertools.count())
    assert next(stream) == 0
    stream.close()
    stream.close()
    with pytest.raises(CancelledError, match="closed"):
        next(stream)
    unused = each.iter(square, itertools.count())
    unused.close()


def test_a_stream_that_is_never_asked_warns(each: Map) -> None:
    with pytest.warns(RuntimeWarning, match="never asked"):
        assert each.iter(square, [1]).taken == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with each.iter(square, [1]):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself a signal")
def test_a_ctrl_c_while_waiting(tmp_path: Path, process: Settings) -> None:
    verb = pmap.using(**process.options()).using(chunksize=1)
    stream = verb.iter(partial(wait_to_go, str(tmp_path)), [7])

    def interrupt() -> None:
        until(lambda: marks(tmp_path) == ["7"])
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    thread.join()
    with pytest.raises(CancelledError):
        next(stream)
    assert verb(square, range(5)) == [0, 1, 4, 9, 16]


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself a signal")
def test_a_ctrl_c_while_threads_work(tmp_path: Path) -> None:
    verb = pmap.using(backend="threads", processes=2)
    stream = verb.iter(partial(wait_to_go, str(tmp_path)), [7])

    def interrupt() -> None:
        until(lambda: marks(tmp_path) == ["7"])
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    thread.join()
    (tmp_path / "7").touch()
    with pytest.raises(CancelledError):
        next(stream)
    assert verb(square, range(5)) == [0, 1, 4, 9, 16]


def test_a_ctrl_c_in_an_item_of_this_thread() -> None:
    verb = pmap.using(backend="serial")
    closed: list[bool] = []
    stream = verb.iter(partial(interrupt_at, 3), closing(closed, itertools.count()), chunksize=1)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert closed == [True]
    with pytest.raises(CancelledError):
        next(stream)
    assert verb(square, range(5)) == [0, 1, 4, 9, 16]


def test_a_ctrl_c_in_an_item_costs_no_other_call() -> None:
    verb = pmap.using(backend="serial")
    other = verb.iter(square, itertools.count())
    assert next(other) == 0
    for size in (1, 4):
        with pytest.raises(KeyboardInterrupt):
            verb(partial(interrupt_at, 3), range(6), chunksize=size)
        assert verb(square, range(5)) == [0, 1, 4, 9, 16]
        assert list(itertools.islice(other, 20)) == [
            x * x for x in range(other.taken - 20, other.taken)
        ]
    other.close()


def test_a_ctrl_c_while_reading(each: Map) -> None:
    closed: list[bool] = []

    def source() -> Iterator[int]:
        yield from range(3)
        signal.raise_signal(signal.SIGINT)
        yield 3

    stream = each.iter(square, closing(closed, source()))
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    assert closed == [True]
    with pytest.raises(CancelledError):  # not an end: what had been read is lost
        next(stream)
    assert each(square, range(5)) == [0, 1, 4, 9, 16]


def in_a_fork(stream: "ResultStream[int]") -> int:
    """Return 0 if a fork of this process is refused the results."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(TIME_LIMIT))  # ends one that hangs
        code = 1
        try:
            for _ in range(1 << 15):  # what was in hand before the fork is there
                next(stream)
        except PoolClosedError:
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_has_no_part_in_it(each: Map) -> None:
    stream = each.iter(square, itertools.count())
    assert next(stream) == 0
    assert in_a_fork(stream) == 0
    assert next(stream) == 1
    stream.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_has_no_part_in_one_that_has_not_begun(each: Map, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nbb\n")
    with path.open(encoding="ascii") as file:
        stream = each.iter(len, file)
        assert in_a_fork(stream) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0, "the fork has read nothing"
        assert list(stream) == [2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_while_another_thread_waits(concurrent: Settings, tmp_path: Path) -> None:
    verb = pmap.using(**concurrent.options())
    stream = verb.iter(partial(wait_to_go, str(tmp_path)), [7])
    taken: list[int] = []
    thread = threading.Thread(target=lambda: taken.extend(stream))
    thread.start()
    until(lambda: marks(tmp_path) == ["7"], "the item beginning")
    try:
        assert in_a_fork(stream) == 0, "the lock of a thread that is not there"
    finally:
        (tmp_path / "7").touch()
        thread.join()
    assert taken == [7]


# --- several at a time ---------------------------------------------------------------------------


def test_two_streams_interleaved(each: Map) -> None:
    with each.iter(square, itertools.count()) as a, each.iter(str, itertools.count()) as b:
        pairs = [(next(a), next(b)) for _ in range(60)]
    assert pairs == [(x * x, str(x)) for x in range(60)]


def test_a_stream_as_the_input_of_a_stream(each: Map) -> None:
    with each.iter(square, itertools.count()) as inner, each.iter(str, inner) as outer:
        assert list(itertools.islice(outer, 30)) == [str(x * x) for x in range(30)]


def test_a_stream_inside_an_item(each: Map) -> None:
    assert list(each.iter(inner_stream, range(4))) == [[], [0], [0, 1], [0, 1, 4]]


def test_plain_calls_between_results(each: Map) -> None:
    with each.iter(square, itertools.count()) as stream:
        for x in range(10):
            assert next(stream) == x * x
            assert each(square, [x, x + 1]) == [x * x, (x + 1) ** 2]


def test_an_input_that_asks_for_a_result(each: Map) -> None:
    streams: list[ResultStream[int]] = []

    def selfish() -> Iterator[int]:
        yield next(streams[0])

    streams.append(each.iter(square, selfish()))
    with pytest.raises(RuntimeError, match="while it is being asked"):
        next(streams[0])


def test_several_threads_share_a_stream(each: Map) -> None:
    taken: list[int] = []
    stream = each.iter(square, range(300), buffersize=20)

    def consume() -> None:
        taken.extend(stream)

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT)
    assert sorted(taken) == [x * x for x in range(300)]


def test_one_of_several_threads_gets_the_failure(each: Map) -> None:
    stream = each.iter(invert, [*range(1, 40), 0, *range(1, 40)], buffersize=8)
    taken: list[float] = []
    failures: list[Exception] = []

    def consume() -> None:
        try:
            for result in stream:
                taken.append(result)  # noqa: PERF402 - one by one, whatever comes then
        except ZeroDivisionError as error:
            failures.append(error)

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT)
    assert sorted(taken) == sorted(1 / x for x in range(1, 40))
    assert len(failures) == 1


def test_a_stream_for_each_of_several_threads(each: Map) -> None:
    taken: dict[int, list[int]] = {}

    def consume(number: int) -> None:
        taken[number] = list(each.iter(square, range(number, number + 60), buffersize=5))

    threads = [threading.Thread(target=consume, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIME_LIMIT)
    assert taken == {n: [x * x for x in range(n, n + 60)] for n in range(3)}


def test_leaving_a_stream_leaves_the_one_that_it_reads(each: Map) -> None:
    with each.iter(square, itertools.count()) as inner:
        with each.iter(str, inner, buffersize=3) as outer:
            assert [next(outer) for _ in range(4)] == ["0", "1", "4", "9"]
        assert inner.taken == outer.read
        assert next(inner) == outer.read**2


def test_serial_items_run_in_the_thread_that_asks() -> None:
    # Also while the input is so slow that others would wait for a moment before they read on.
    verb = pmap.using(backend="serial")
    assert set(verb.iter(here, Slow(5))) == {threading.get_ident()}
    assert set(verb.iter_unordered(here, Slow(5))) == {threading.get_ident()}


# --- Pool.imap and its siblings ------------------------------------------------------------------


@pytest.fixture
def pool(process: Settings) -> Iterator[Pool]:
    """A pool of two."""
    context: Any = multiprocessing.get_context(process.start_method)
    with Pool(2, context=context) as pool:
        yield pool
    pool.join()


STREAMS: list[Callable[[Pool], "ResultStream[Any]"]] = [
    lambda pool: pool.imap(square, range(30)),
    lambda pool: pool.imap(square, range(30), chunksize=7),
    lambda pool: pool.imap(square, range(30), None),
    lambda pool: pool.imap(square, range(30), 4, buffersize=2),
    lambda pool: pool.istarmap(pow, ((x, 2) for x in range(30))),
]


@pytest.mark.parametrize("make", STREAMS)
def test_imap(pool: Pool, make: Callable[[Pool], "ResultStream[int]"]) -> None:
    assert list(make(pool)) == [x * x for x in range(30)]


def test_imap_unordered(pool: Pool) -> None:
    assert sorted(pool.imap_unordered(square, range(30))) == [x * x for x in range(30)]


def test_imap_goes_on_behind_a_failure(pool: Pool) -> None:
    stream = pool.imap(invert, [1, 0, 0, 4])
    assert next(stream) == 1.0
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            next(stream)
    assert next(stream) == 0.25
    with pytest.raises(StopIteration):
        next(stream)


def test_a_pool_that_is_closed_finishes_its_streams(pool: Pool) -> None:
    source = Counted(500)
    stream = pool.imap(square, source, buffersize=5)
    pool.close()
    assert next(stream) == 0
    pool.join()  # would wait for ever if it did not read the rest
    assert source.reads == 500
    assert list(stream) == [x * x for x in range(1, 500)]
    with pytest.raises(PoolClosedError):
        pool.imap(square, [1])


def test_a_pool_that_is_terminated_ends_its_streams(tmp_path: Path, pool: Pool) -> None:
    stream = pool.imap(partial(wait_to_go, str(tmp_path)), [0, 1])
    (tmp_path / "0").touch()
    assert next(stream) == 0
    pool.terminate()
    with pytest.raises(CancelledError):
        next(stream)


def test_a_pool_that_is_terminated_does_not_read_on(pool: Pool) -> None:
    source = Counted(None)
    stream = pool.imap(square, source, buffersize=5)
    assert next(stream) == 0
    reads = source.reads
    pool.terminate()
    pool.join()  # as behind a `with` block, whose input may have no end
    assert source.reads == reads


def test_join_reads_for_the_verbs_streams_too(pool: Pool) -> None:
    source = Counted(100)
    stream = pmap.using(pool=pool).iter(square, source, buffersize=5)
    assert next(stream) == 0
    pool.close()
    pool.join()
    assert source.reads == 100
    assert list(stream) == [x * x for x in range(1, 100)]


def test_join_stops_reading_when_an_item_has_failed(pool: Pool) -> None:
    stream = pmap.using(pool=pool).iter(invert, itertools.count(-3), buffersize=2)
    assert next(stream) == 1 / -3
    pool.close()
    pool.join()
    assert [next(stream), next(stream)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(stream)


def test_a_stream_of_a_closed_pool_reads_nothing(pool: Pool) -> None:
    source = Counted(1)
    stream = pmap.using(pool=pool).iter(square, source)
    pool.close()
    for _ in range(2):
        with pytest.raises(PoolClosedError):
            next(stream)
    assert source.reads == 0
    pool.join()


def test_results_are_there_behind_join(pool: Pool) -> None:
    streams = [pool.imap(square, range(30)), pool.imap_unordered(square, range(30), None)]
    pool.close()
    pool.join()
    assert [sorted(stream) for stream in streams] == [[x * x for x in range(30)]] * 2


def test_what_join_has_run_is_no_stream_that_was_never_asked(pool: Pool) -> None:
    stream = pool.imap(square, range(30))
    pool.close()
    pool.join()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del stream
        gc.collect()
    assert [str(warning.message) for warning in told] == []
    lone = Pool(1)
    with pytest.warns(RuntimeWarning, match="never asked"):
        lone.imap(square, [1])
    lone.terminate()
    lone.join()


def test_a_ctrl_c_while_join_reads(pool: Pool) -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        signal.raise_signal(signal.SIGINT)

    closed: list[bool] = []
    stream = pool.imap(square, closing(closed, source()))
    pool.close()
    with pytest.raises(KeyboardInterrupt):
        pool.join()
    assert closed == [True]
    with pytest.raises(CancelledError):  # not an end: what had been read is lost
        next(stream)


def test_an_abandoned_stream_holds_no_pool_up(tmp_path: Path, pool: Pool) -> None:
    stream = pool.imap(partial(begin_and_wait, str(tmp_path)), itertools.chain([0], [1000, 1001]))
    assert next(stream) == 0
    with pytest.raises(multiprocessing.TimeoutError):
        stream.next(timeout=0.01)
    del stream
    gc.collect()
    pool.close()
    pool.join()


def test_imap_goes_on_behind_a_lost_worker(tmp_path: Path, pool: Pool) -> None:
    stream = pool.imap(partial(die_at, str(tmp_path), 5), range(12), 4, 8)
    assert [next(stream) for _ in range(5)] == [x * x for x in range(5)]
    with pytest.raises(WorkerLost):
        next(stream)
    assert list(stream) == [x * x for x in range(6, 12)]
    assert Counter(marks(tmp_path)) == Counter(map(str, range(12)))
