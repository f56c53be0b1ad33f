"""`Pool.imap` and its siblings, with each start method."""

import gc
import itertools
import multiprocessing
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.backends import Settings
from tests.contract.functions import die_at, wait_to_go
from tests.contract.stream_items import Counted, begin_and_wait, closing, invert
from tests.files import marks
from tests.items import square

from pmap import CancelledError, Pool, PoolClosedError, WorkerLost, pmap

if TYPE_CHECKING:
    from pmap import ResultStream


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
