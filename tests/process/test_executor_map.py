"""The `map` of an executor, and what it is made with."""

import pickle
from collections.abc import Iterator
from concurrent import futures
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from tests.backends import Settings
from tests.files import mark, marks
from tests.limits import TIME_LIMIT, until
from tests.process.executor_items import (
    double,
    each_backend,
    each_method,
    executor_of,
    held,
    reciprocal,
    release,
)

from pmap import Executor, OptionError, papply

# --- map -----------------------------------------------------------------------------------------


@each_backend
def test_a_buffer_bounds_what_is_read(settings: Settings) -> None:
    read = 0

    def source() -> Iterator[int]:
        nonlocal read
        for x in count():
            read += 1
            yield x

    with executor_of(settings) as executor:
        for size, buffer in ((1, 1), (1, 3), (2, 2)):
            read = 0
            results = executor.map(double, source(), chunksize=size, buffersize=buffer)
            assert read == size * buffer
            for taken in range(1, 7):
                assert next(results) == 2 * (taken - 1)
                assert read <= size * buffer + -(-taken // size) * size
            del results


class Counting(Executor):
    """Hears of each call, as programs do that show their progress."""

    submitted = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "futures.Future[Any]":
        self.submitted += 1
        return super().submit(fn, *args, **kwargs)


@each_backend
def test_a_map_uses_the_submit_that_was_put_in_its_place(
    settings: Settings, tmp_path: Path
) -> None:
    options: Any = {"backend": settings.backend, "start_method": settings.start_method}
    with Counting(2, **options) as executor:
        assert list(executor.map(pow, [2, 3, 4], [3, 2, 1], chunksize=2)) == [8, 9, 4]
        assert executor.submitted == 2
        results = executor.map(reciprocal, [1, 0, 2, 4], buffersize=1)
        assert executor.submitted == 3
        assert next(results) == 1.0
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []
        assert executor.submitted == 5
    with executor_of(settings) as usual:
        told: list[object] = []
        replaced = usual.submit

        def submit(*args: Any) -> "futures.Future[Any]":
            future = replaced(*args)
            future.add_done_callback(told.append)
            return future

        changed: Any = usual
        changed.submit = submit
        assert list(changed.map(double, range(5), chunksize=2)) == [0, 2, 4, 6, 8]
        until(lambda: len(told) == 3)
        if settings.processes:
            late = changed.map(held, [str(tmp_path)] * 3, "abc", timeout=0)
            with pytest.raises(TimeoutError):
                next(late)
            release(tmp_path, *"abc")


def test_what_an_input_raises_comes_behind_the_results_before_it() -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    with Executor(1) as executor:
        with pytest.raises(OSError, match="no more"):
            executor.map(double, source())
        results = executor.map(double, source(), buffersize=2)
        assert [next(results) for _ in range(3)] == [0, 2, 4]
        with pytest.raises(OSError, match="no more"):
            next(results)


def held_to_its_end(folder: str, name: str) -> None:
    held(folder, name)
    mark(folder, f"end-of-{name}")


@each_method
def test_a_map_has_time_until_its_end(method: Any, tmp_path: Path) -> None:
    folder = str(tmp_path)
    with Executor(1, start_method=method) as executor:
        executor.submit(double, 1).result(TIME_LIMIT)
        results = executor.map(held_to_its_end, [folder] * 2, "ab", timeout=0.05)
        until(lambda: marks(folder))
        with pytest.raises(TimeoutError):
            next(results)
        assert list(results) == []
        release(tmp_path, "a", "b")
    assert marks(folder) == ["a", "end-of-a"]  # what runs is let be, and no other begins


# --- what is given -------------------------------------------------------------------------------

BAD: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no workers": ({"max_workers": 0}, "max_workers must be greater than 0"),
    "less": ({"max_workers": -1}, "max_workers must be greater than 0"),
    "text": ({"max_workers": "4"}, "max_workers='4'"),
    "another word": ({"processes": 4}, "no 'processes'"),
    "an option of calls": ({"timeout": 4}, "no 'timeout'"),
    "a name for a context": ({"mp_context": "spawn"}, "get_context"),
    "both": ({"mp_context": papply, "start_method": "spawn"}, "already decided"),
    "no initializer": ({"initializer": 3}, "initializer"),
    "no tasks": ({"max_tasks_per_child": 0}, "max_tasks_per_child"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_is_refused(bad: str) -> None:
    given, words = BAD[bad]
    make: Any = Executor
    with pytest.raises(OptionError, match=words):
        make(**given)


def test_sizes_are_looked_at_before_anything_starts() -> None:
    executor: Any = Executor(1)
    for given, words in (
        ({"chunksize": 0}, "chunksize must be"),
        ({"buffersize": "2"}, "buffersize must be an integer or None"),
        ({"buffersize": 0}, "buffersize must be None or > 0"),
    ):
        with pytest.raises(ValueError, match=words):
            executor.map(double, [1], **given)
    with pytest.raises(TypeError):
        executor.submit(3)
    assert not executor._drivers


def test_it_is_not_pickled() -> None:
    with pytest.raises(NotImplementedError, match="cannot be passed"):
        pickle.dumps(Executor(1))
