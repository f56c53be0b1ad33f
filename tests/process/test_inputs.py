"""Inputs that lie, raise, recurse, or use the pool themselves; and none, and one.

What is looked at each time besides the results: nothing is kept, and the pool goes on.
"""

import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.backends import BACKENDS, Settings
from tests.bad_objects import Bare, Loading
from tests.files import wait_for_file
from tests.limits import TIME_LIMIT

from pmap import (
    CancelledError,
    Failure,
    Map,
    Pool,
    TransportError,
    as_completed,
    gather,
    pmap,
    pstarmap,
)

if TYPE_CHECKING:
    from pmap import Options

# Returns the results of a function of one argument, or of the elements of a row.
Run = Callable[[Callable[..., Any], Iterable[Any]], list[Any]]


def options(backend: Settings, processes: int = 2) -> "Options":
    """Return the options for a backend."""
    return {
        "backend": backend.backend,
        "start_method": backend.start_method,
        "processes": processes,
    }


@pytest.fixture
def each(backend: Settings) -> Map:
    """`pmap` on two warm workers."""
    return pmap.using(**options(backend))


def forms_of(options: "Options") -> dict[str, Run]:
    """Return all forms of the verbs by name; those that take rows have a name with "star"."""
    each = pmap.using(**options)
    star = pstarmap.using(**options)
    return {
        "map": each,
        "async": lambda f, xs: each.async_(f, xs).get(TIME_LIMIT),
        "collecting": lambda f, xs: list(each.collecting(f, xs)),
        "iter": lambda f, xs: list(each.iter(f, xs)),
        "unordered": lambda f, xs: sorted(each.iter_unordered(f, xs)),
        "starmap": star,
        "starmap async": lambda f, xs: star.async_(f, xs).get(TIME_LIMIT),
        "istarmap": lambda f, xs: list(star.iter(f, xs)),
    }


def methods_of(pool: Pool) -> dict[str, Run]:
    """Return all methods of a pool that take an iterable, as `forms_of`."""
    return {
        "Pool.map": pool.map,
        "Pool.map_async": lambda f, xs: pool.map_async(f, xs).get(TIME_LIMIT),
        "Pool.imap": lambda f, xs: list(pool.imap(f, xs)),
        "Pool.imap_unordered": lambda f, xs: sorted(pool.imap_unordered(f, xs)),
        "Pool.starmap": pool.starmap,
        "Pool.starmap_async": lambda f, xs: pool.starmap_async(f, xs).get(TIME_LIMIT),
        "Pool.istarmap": lambda f, xs: list(pool.istarmap(f, xs)),
    }


# The input is read by the caller: how processes are started makes no difference for that.
PLACES: Final = [backend for backend in BACKENDS if backend.name not in ("spawn", "fork")]


@pytest.fixture(params=PLACES, ids=lambda settings: settings.name, scope="module")
def forms(request: pytest.FixtureRequest) -> Iterator[dict[str, Run]]:
    """All forms of a call on a backend; where it has processes, also the methods of a pool."""
    backend = request.param
    assert isinstance(backend, Settings)
    if not backend.processes:
        yield forms_of(options(backend))
        return
    with Pool(2, context=get_context(backend.start_method)) as pool:
        yield forms_of(options(backend)) | methods_of(pool)


@pytest.fixture
def one_pool() -> Iterator[Pool]:
    """A pool of two that nobody else uses."""
    with Pool(2) as pool:
        yield pool


def same(*row: object) -> tuple[object, ...]:
    """Return the arguments."""
    return row


def serially(name: str, f: Callable[..., Any], xs: Iterable[Any]) -> list[Any]:
    """Return what the form of this name should."""
    return list(starmap(f, xs) if "star" in name else map(f, xs))


ROWS: Final = [(1,), (2,), (3,)]


# --- little and much -----------------------------------------------------------------------------


def test_none_and_one(forms: dict[str, Run]) -> None:
    for name, run in forms.items():
        assert run(same, iter(())) == [], name
        assert run(same, iter(ROWS[:1])) == serially(name, same, ROWS[:1]), name


# --- lengths that are wrong ----------------------------------------------------------------------


class Lying:
    """Three rows, and another length."""

    def __init__(self, length: object) -> None:
        self.length = length

    def __iter__(self) -> Iterator[tuple[int]]:
        return iter(ROWS)

    def __len__(self) -> Any:
        if isinstance(self.length, BaseException):
            raise self.length
        return self.length


class Hinting(Lying):
    """Only hints at its length."""

    __len__: Any = None

    def __length_hint__(self) -> Any:
        return super().__len__()


class Old:
    """Has no iterator, only elements by number."""

    def __init__(self, length: object) -> None:
        self.lying = Lying(length)

    def __getitem__(self, index: int) -> tuple[int]:
        return ROWS[index]

    def __len__(self) -> Any:
        return len(self.lying)


LENGTHS: Final = (0, 1, 5, sys.maxsize, -1, None, "three", ValueError("none"), Bare("none"))


@pytest.mark.parametrize("kind", [Lying, Hinting, Old])
def test_a_length_is_not_asked_for(forms: dict[str, Run], kind: Callable[[object], Any]) -> None:
    for length in LENGTHS:
        for name, run in forms.items():
            assert run(same, kind(length)) == serially(name, same, kind(length)), (name, length)


# --- inputs that raise ---------------------------------------------------------------------------


class Raising(Iterator[tuple[int]]):
    """Gives three rows, then raises; it is as bad to be asked again."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.rows = iter(ROWS)

    def __next__(self) -> tuple[int]:
        for row in self.rows:
            return row
        raise self.error


class RaisesAtOnce:
    """Raises where its iterator is asked for."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __iter__(self) -> Iterator[tuple[int]]:
        raise self.error


ERRORS: Final[tuple[type[BaseException], ...]] = (
    LookupError,
    StopAsyncIteration,
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    Bare,
)


@pytest.mark.parametrize("kind", [Raising, RaisesAtOnce])
def test_the_inputs_exception_is_the_very_one(
    forms: dict[str, Run], kind: Callable[[BaseException], Iterable[tuple[int]]]
) -> None:
    for error_type in ERRORS:
        for name, run in forms.items():
            error = error_type("of the input")
            with pytest.raises(error_type) as caught:
                run(same, kind(error))
            assert caught.value is error, name
            assert (error.__cause__, error.__context__) == (None, None), name
            assert not hasattr(error, "__notes__"), name
        for name, run in forms.items():  # and all is well
            assert run(same, ROWS) == serially(name, same, ROWS), name


def test_what_came_before_the_inputs_exception_is_there(each: Map) -> None:
    for stream in (each.iter, each.iter_unordered):
        error = LookupError("of the input")
        results = stream(same, Raising(error))
        assert sorted(next(results) for _ in ROWS) == [(row,) for row in ROWS]
        with pytest.raises(LookupError) as caught:
            next(results)
        assert caught.value is error
        assert list(results) == []


# --- inputs with ideas of their own --------------------------------------------------------------


def test_an_input_that_uses_the_pool_while_it_is_read(forms: dict[str, Run]) -> None:
    def using(inner: Run) -> Iterator[tuple[int]]:
        for row in ROWS:
            assert inner(same, [row]) in ([row], [(row,)])
            yield row

    for name, run in forms.items():
        for inner in forms.values():
            assert run(same, using(inner)) == serially(name, same, ROWS), name


def test_an_input_that_only_its_own_thread_may_read(forms: dict[str, Run]) -> None:
    base = sqlite3.connect(":memory:")
    base.execute("create table numbers (x)")
    base.executemany("insert into numbers values (?)", ROWS)
    for name, run in forms.items():
        assert run(same, base.execute("select x from numbers")) == serially(name, same, ROWS), name
    base.close()


class Recursing:
    """Uses a pool while it is pickled."""

    def __init__(self, act: Callable[[], object] | None = None) -> None:
        self.act = act

    def __call__(self, *row: object) -> tuple[object, ...]:
        return row

    def __reduce__(self) -> tuple[object, ...]:
        if self.act is not None:
            self.act()
        return Recursing, ()


# What a result does where it is loaded. It is pickled in a worker, so it cannot carry it along.
at_home: Callable[[], object] | None = None


def use_at_home(_: object) -> str:
    """Be loaded."""
    assert at_home is not None
    at_home()
    return "loaded"


def loads_at_home(*_: object) -> Loading:
    """Return what uses a pool where it is loaded."""
    return Loading(use_at_home, None)


def test_pickling_that_uses_the_pool(one_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = forms_of({"pool": one_pool}) | methods_of(one_pool)
    inner: list[str] = []

    def use_all() -> None:
        for name, run in forms.items():
            assert run(same, ROWS) == serially(name, same, ROWS)
            inner.append(name)

    monkeypatch.setattr(sys.modules[__name__], "at_home", use_all)
    for name, run in forms.items():
        if "unordered" in name:  # what it returns here cannot be sorted
            continue
        assert run(Recursing(use_all), ROWS) == serially(name, same, ROWS), name
        assert inner[: len(forms)] == list(forms)
        inner.clear()
        assert len(run(same, [(1,), (Recursing(use_all),)])) == 2, name
        assert inner[: len(forms)] == list(forms)
        inner.clear()
        assert run(loads_at_home, [(1,)]) == ["loaded"], name
        assert inner == list(forms)
        inner.clear()


def test_pickling_that_waits_for_the_pool_itself(one_pool: Pool, tmp_path: Path) -> None:
    earlier = one_pool.map_async(wait_for_file, [str(tmp_path / "go")])
    stream = one_pool.imap(wait_for_file, [str(tmp_path / "go")])
    waits: dict[str, Callable[[], object]] = {
        "get": earlier.get,
        "wait": earlier.wait,
        "gather": gather(earlier).get,
        "then": earlier.then(len).get,
        "future": earlier.future().result,
        "as_completed": lambda: next(as_completed([earlier])),
        "next": stream.next,
    }
    each = pmap.using(pool=one_pool, chunksize=3).collecting
    for name, wait in waits.items():
        first, bad, last = each(same, [1, Recursing(wait), 3])
        assert (first, last) == ((1,), (3,))
        assert isinstance(bad, Failure), name
        assert isinstance(bad.error, TransportError), name
        assert isinstance(bad.error.__cause__, RuntimeError), name
        assert "in vain" in str(bad.error), name
    (tmp_path / "go").touch()
    assert earlier.get(TIME_LIMIT) == [None]
    assert list(stream) == [None]


def test_pickling_that_terminates_the_pool(one_pool: Pool) -> None:
    with pytest.raises(CancelledError):
        one_pool.map(same, [Recursing(one_pool.terminate)])
    one_pool.join()
