"""Streams keep the laws on every backend and start method.

How much of the input is read is counted, not guessed: `Counted` knows at each read how many results
its consumer has taken.
"""

import contextvars
import itertools
import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends import Settings
from tests.contract.functions import (
    die_at,
    fail_in,
    first_fails_when_told,
    pid_and_wait,
    variable,
    wait_to_go,
)
from tests.contract.stream_items import Counted, begin_and_wait, inner_stream, invert
from tests.files import marks
from tests.items import square
from tests.limits import TIME_LIMIT, until
from tests.processes import descendants

from pmap import Failure, Map, WorkerLost, pmap, pstarmap

if TYPE_CHECKING:
    from pmap import ResultStream

SIZES = st.one_of(st.none(), st.integers(1, 9))


class Slow(Counted):
    """Each read takes longer than a stream may spend on reading while a result is there."""

    def __next__(self) -> int:
        end = perf_counter() + 0.002
        while perf_counter() < end:
            pass
        return super().__next__()


def here(_: int) -> int:
    """Return the thread that this runs in."""
    return threading.get_ident()


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
