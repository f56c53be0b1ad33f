"""A stream that is left early, on every backend: closed, dropped, interrupted, or forked."""

import gc
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends import Settings
from tests.contract.functions import fail_in, interrupt_at, wait_to_go
from tests.contract.stream_items import Counted, begin_and_wait, closing, invert
from tests.files import marks
from tests.items import square, work_pid
from tests.limits import TIME_LIMIT, until

from pmap import CancelledError, Map, Pool, PoolClosedError, pmap
from pmap._backends.interpreters import living

if TYPE_CHECKING:
    from pmap import ResultStream


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
    if living:
        pytest.skip("Python crashes in a fork of a process that has interpreters")
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
