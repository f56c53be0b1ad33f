"""Laws 1, 3, 4 and 6 of streams, on inputs that count how they are read.

A `Ledger` is an input that knows at each read how many results its consumer has, and which thread
and which context ask. The bound is exact: it is looked at in every read, not now and then.
"""

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.bad_objects import TwoArguments
from tests.contract.functions import die_at, fail_in
from tests.files import marks
from tests.items import square
from tests.watched_states import Watch, transitions_of

from pmap import CancelledError, Failure, Pool, ResultStream, WorkerLost, pmap, pstarmap
from pmap._api import stream_states
from pmap._jobs import pending as _pending
from pmap._jobs.pending import Pending
from pmap._jobs.stream_job import Part, StreamJob

if TYPE_CHECKING:
    from pmap import Options
    from pmap._types import Backend

R = TypeVar("R")

many = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(many, max_examples=4)  # each costs workers, which are to be replaced
ITEMS = st.integers(0, 40)
WORKERS = st.integers(1, 4)
SIZES = st.one_of(st.none(), st.integers(1, 9))
MOST_AHEAD = 1 << 14  # what the documentation says of a stream that is told nothing
asker: ContextVar[int] = ContextVar("asker", default=0)


class Ledger(Iterator[int]):
    """The numbers from 0 on, of which each read is booked."""

    def __init__(self, size: int | None, bound: int, error: Exception | None = None) -> None:
        self.size = size
        self.bound = bound
        self.error = error  # raised at the end
        self.reads = 0
        self.taken = 0  # results that were returned before
        self.asked = False  # whether somebody is asking at this moment
        self.thread = threading.get_ident()

    def __next__(self) -> int:
        assert self.asked, "it is read though nobody asks"
        assert threading.get_ident() == self.thread, "it is read by another thread"
        assert asker.get() == id(self), "it is read in another context"
        if self.reads == self.size:
            raise self.error or StopIteration
        self.reads += 1
        assert self.reads <= self.taken + self.bound, "it is read too far ahead"
        return self.reads - 1

    def ask(self, stream: ResultStream[R]) -> R:
        """Return the next result; raises what the stream raises."""
        self.asked = True
        token = asker.set(id(self))
        try:
            result = next(stream)
        except StopIteration:
            raise
        except Exception:
            self.taken += 1  # one that failed and was raised is taken as well
            raise
        finally:
            asker.reset(token)
            self.asked = False
        self.taken += 1
        assert stream.taken == self.taken
        assert stream.read == self.reads <= self.taken - 1 + self.bound
        return result

    def drain(self, stream: ResultStream[R]) -> list[R]:
        """Return all results."""
        results: list[R] = []
        while True:
            try:
                results.append(self.ask(stream))
            except StopIteration:
                return results


def greatest(*row: int) -> int:
    """Return the greatest of a row."""
    return max(row)


def bound_of(buffersize: int | None, workers: int, chunksize: int | None) -> int:
    """Return how far ahead a stream may read."""
    return buffersize or max(MOST_AHEAD, 4 * workers * (chunksize or 1))


@pytest.fixture(params=["threads", "serial", "processes"])
def backend(request: pytest.FixtureRequest) -> "Backend":
    """Where items run."""
    chosen: Backend = request.param
    return chosen


@pytest.fixture(scope="module", autouse=True)
def watch() -> Iterator[Watch]:
    """See that streams, and their jobs, go over to the states of their tables only."""
    jobs = Watch(Pending, "_state", _pending)
    streams = Watch(ResultStream, "_state", stream_states)
    yield streams
    streams.end()
    jobs.end()
    assert jobs.seen
    assert not [*streams.wrong, *jobs.wrong]


def options(
    backend: "Backend", workers: int, chunksize: int | None, buffersize: int | None
) -> "Options":
    """Return the options for a stream; there is one pool of processes, which is warm."""
    return {
        "backend": backend,
        "processes": 2 if backend == "processes" else workers,
        "chunksize": chunksize,
        "buffersize": buffersize,
    }


# --- laws 1, 4 and 6 -----------------------------------------------------------------------------


@many
@given(size=ITEMS, workers=WORKERS, chunksize=SIZES, buffersize=SIZES)
@example(size=0, workers=1, chunksize=None, buffersize=1)
@example(size=1, workers=4, chunksize=9, buffersize=None)
@example(size=4, workers=4, chunksize=1, buffersize=1)
@example(size=500, workers=2, chunksize=None, buffersize=None)
def test_in_order_it_is_map(
    backend: "Backend", size: int, workers: int, chunksize: int | None, buffersize: int | None
) -> None:
    ledger = Ledger(size, bound_of(buffersize, workers, chunksize))
    stream = pmap.iter(square, ledger, **options(backend, workers, chunksize, buffersize))
    assert ledger.reads == 0
    assert ledger.drain(stream) == [x * x for x in range(size)]
    assert ledger.reads == size
    assert list(stream) == []  # and stays at its end


@many
@given(size=ITEMS, workers=WORKERS, chunksize=SIZES, buffersize=SIZES)
def test_unordered_it_is_a_multiset(
    backend: "Backend", size: int, workers: int, chunksize: int | None, buffersize: int | None
) -> None:
    ledger = Ledger(size, bound_of(buffersize, workers, chunksize))
    chosen = options(backend, workers, chunksize, buffersize)
    stream = pmap.iter_unordered(square, ledger, **chosen)
    assert Counter(ledger.drain(stream)) == Counter(x * x for x in range(size))
    assert ledger.reads == size


@many
@given(
    sizes=st.lists(st.integers(0, 12), min_size=2, max_size=3), chunksize=SIZES, buffersize=SIZES
)
def test_several_iterables_stop_at_the_shortest(
    backend: "Backend", sizes: list[int], chunksize: int | None, buffersize: int | None
) -> None:
    columns = [range(10 * n, 10 * n + size) for n, size in enumerate(sizes)]
    chosen = options(backend, 2, chunksize, buffersize)
    rows = list(zip(*columns, strict=False))
    first, second, *more = (iter(column) for column in columns)
    stream: ResultStream[Any] = pmap.iter(max, first, second, *more, **chosen)
    assert list(stream) == [max(row) for row in rows]
    assert list(pstarmap.iter(greatest, iter(rows), **chosen)) == [max(row) for row in rows]
    unordered = pstarmap.iter_unordered(greatest, iter(rows), **chosen)
    assert Counter(unordered) == Counter(max(row) for row in rows)


@many
@given(
    asks=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6)), max_size=12),
    sizes=st.tuples(SIZES, SIZES),
    chunksize=SIZES,
)
def test_two_streams_in_turn_read_only_when_asked(
    backend: "Backend",
    asks: list[tuple[int, int]],
    sizes: tuple[int | None, int | None],
    chunksize: int | None,
) -> None:
    ledgers = [Ledger(None, bound_of(size, 2, chunksize)) for size in sizes]
    streams = [
        pmap.iter(square, ledger, **options(backend, 2, chunksize, size))
        for ledger, size in zip(ledgers, sizes, strict=True)
    ]
    for which, count in asks:
        ledger, stream = ledgers[which], streams[which]
        before = ledgers[1 - which].reads
        for _ in range(count):
            assert ledger.ask(stream) == (ledger.taken - 1) ** 2
        assert ledgers[1 - which].reads == before
        reads = ledger.reads
        assert pmap(square, [7], **options(backend, 2, None, None)) == [49]
        assert ledger.reads == reads
    reads_before = [ledger.reads for ledger in ledgers]
    for stream in streams:
        stream.close()
    assert [ledger.reads for ledger in ledgers] == reads_before


# --- errors, and law 3 ---------------------------------------------------------------------------


@many
@given(
    failing=st.sets(st.integers(0, 19), min_size=1, max_size=5),
    workers=WORKERS,
    chunksize=SIZES,
    buffersize=SIZES,
)
def test_a_failure_is_raised_in_its_place(
    backend: "Backend",
    failing: set[int],
    workers: int,
    chunksize: int | None,
    buffersize: int | None,
) -> None:
    first = min(failing)
    ledger = Ledger(20, bound_of(buffersize, workers, chunksize))
    with tempfile.TemporaryDirectory() as folder:
        function = partial(fail_in, frozenset(failing), folder)
        with pmap.iter(
            function, ledger, **options(backend, workers, chunksize, buffersize)
        ) as stream:
            assert [ledger.ask(stream) for _ in range(first)] == [x * x for x in range(first)]
            with pytest.raises(TwoArguments) as caught:
                ledger.ask(stream)
            assert list(stream) == []
        begun = Counter(marks(folder))
    assert caught.value.code == first
    notes = caught.value.__notes__
    assert notes[0] == f"pmap: item {first}, partial(fail_in)({first})"
    assert len(notes) == 2
    assert ".collecting" in notes[1]
    assert set(begun.values()) == {1}
    assert {str(x) for x in range(first + 1)} <= set(begun)
    assert len(begun) <= ledger.reads


@many
@given(
    failing=st.sets(st.integers(0, 19)), chunksize=SIZES, buffersize=SIZES, ordered=st.booleans()
)
def test_collected_failures_are_values(
    backend: "Backend",
    failing: set[int],
    chunksize: int | None,
    buffersize: int | None,
    ordered: bool,
) -> None:
    ledger = Ledger(20, bound_of(buffersize, 2, chunksize))
    verb = pmap.collecting.using(**options(backend, 2, chunksize, buffersize))
    make = verb.iter if ordered else verb.iter_unordered
    with tempfile.TemporaryDirectory() as folder:
        results = ledger.drain(make(partial(fail_in, frozenset(failing), folder), ledger))
        assert Counter(marks(folder)) == Counter(str(x) for x in range(20))
    seen: list[object] = []
    for result in results:
        if isinstance(result, Failure):
            assert isinstance(result.error, TwoArguments)
            assert result.error.code == result.index
            seen.append(-result.index)
        else:
            seen.append(result)
    expected = [-x if x in failing else x * x for x in range(20)]
    assert (seen if ordered else Counter(seen)) == (expected if ordered else Counter(expected))


@many
@given(
    size=st.integers(0, 20),
    chunksize=SIZES,
    buffersize=SIZES,
    ordered=st.booleans(),
    collecting=st.booleans(),
)
def test_the_inputs_error_comes_last_and_as_it_is(
    backend: "Backend",
    size: int,
    chunksize: int | None,
    buffersize: int | None,
    ordered: bool,
    collecting: bool,
) -> None:
    error = LookupError("of the input")
    ledger = Ledger(size, bound_of(buffersize, 2, chunksize), error)
    chosen = options(backend, 2, chunksize, buffersize)
    stream: ResultStream[Any]
    if collecting:
        verb = pmap.collecting.using(**chosen)
        stream = (verb.iter if ordered else verb.iter_unordered)(square, ledger)
    else:
        stream = (pmap.iter if ordered else pmap.iter_unordered)(square, ledger, **chosen)
    results = [ledger.ask(stream) for _ in range(size)]
    with pytest.raises(LookupError) as caught:
        ledger.ask(stream)
    assert caught.value is error
    assert not hasattr(error, "__notes__")
    assert error.__cause__ is None
    assert (results if ordered else sorted(results)) == [x * x for x in range(size)]
    assert list(stream) == []


@few
@given(
    fatal=st.integers(0, 19),
    chunksize=SIZES,
    buffersize=SIZES,
    make=st.sampled_from([pmap.collecting.iter, pmap.collecting.iter_unordered]),
)
def test_a_death_costs_one_item(
    fatal: int,
    chunksize: int | None,
    buffersize: int | None,
    make: Callable[..., ResultStream[Any]],
) -> None:
    ledger = Ledger(20, bound_of(buffersize, 2, chunksize))
    with tempfile.TemporaryDirectory() as folder:
        function = partial(die_at, folder, fatal)
        chosen = options("processes", 2, chunksize, buffersize)
        results: list[Any] = ledger.drain(make(function, ledger, **chosen))
        assert Counter(marks(folder)) == Counter(str(x) for x in range(20))
    (lost,) = [result for result in results if isinstance(result, Failure)]
    assert isinstance(lost.error, WorkerLost)
    assert lost.index == fatal
    others = [result for result in results if result is not lost]
    assert sorted(others) == [x * x for x in range(20) if x != fatal]


# --- Pool ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool(nothing_left_after_the_module: None) -> Iterator[Pool]:
    """A warm pool of two processes."""
    with Pool(2) as pool:
        yield pool
    pool.join()


@many
@given(
    size=ITEMS,
    failing=st.sets(st.integers(0, 39), max_size=4),
    chunksize=SIZES,
    buffersize=SIZES,
    make=st.sampled_from([Pool.imap, Pool.imap_unordered]),
)
def test_imap_goes_on_behind_failures(
    pool: Pool,
    size: int,
    failing: set[int],
    chunksize: int | None,
    buffersize: int | None,
    make: Callable[..., ResultStream[int]],
) -> None:
    ledger = Ledger(size, bound_of(buffersize, 2, chunksize))
    seen: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        function = partial(fail_in, frozenset(failing), folder)
        stream = make(pool, function, ledger, chunksize, buffersize)
        for _ in range(size):
            try:
                seen.append(ledger.ask(stream))
            except TwoArguments as error:
                assert stream.taken == ledger.taken
                seen.append(-error.code)
        assert Counter(marks(folder)) == Counter(str(x) for x in range(size))
    with pytest.raises(StopIteration):
        ledger.ask(stream)
    expected = [-x if x in failing else x * x for x in range(size)]
    assert (seen if make is Pool.imap else sorted(seen)) == (
        expected if make is Pool.imap else sorted(expected)
    )


@many
@given(size=ITEMS, chunksize=st.integers(1, 9), buffersize=SIZES)
def test_imap_runs_nothing_of_a_chunk_that_the_input_fails_in(
    pool: Pool, size: int, chunksize: int, buffersize: int | None
) -> None:
    ledger = Ledger(size, bound_of(buffersize, 2, chunksize), LookupError("of the input"))
    stream = pool.imap(square, ledger, chunksize, buffersize)
    whole = (
        size // min(chunksize, buffersize or chunksize) * min(chunksize, buffersize or chunksize)
    )
    assert [next_of(ledger, stream) for _ in range(whole)] == [x * x for x in range(whole)]
    with pytest.raises(LookupError, match="of the input"):
        ledger.ask(stream)
    assert list(stream) == []


def next_of(ledger: Ledger, stream: ResultStream[R]) -> R:
    """Return the next result; what was read in vain is not counted by the stream."""
    ledger.asked = True
    token = asker.set(id(ledger))
    try:
        result = next(stream)
    finally:
        asker.reset(token)
        ledger.asked = False
    ledger.taken += 1
    return result


# --- states --------------------------------------------------------------------------------------


def test_all_transitions_of_the_table_are_needed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.seen.clear()
    verb = pmap.using(backend="serial")
    assert list(verb.iter(square, [2])) == [4]
    verb.iter(square, [2]).close()
    with verb.iter(square, [2, 3]) as stream:
        assert next(stream) == 4
    with pytest.raises(CancelledError):
        next(stream)

    ending = verb.iter(square, [2])
    take = StreamJob.take

    def close_meanwhile(job: StreamJob, start: int) -> Part | None:
        part = take(job, start)
        if start == 1:
            ending.drop()  # as another thread may
        return part

    monkeypatch.setattr(StreamJob, "take", close_meanwhile)
    assert list(ending) == [4]
    ending.close()
    assert list(ending) == [], "an end that was seen stays"
    assert watch.seen == transitions_of(stream_states)
