"""What is told of how far a call is, where items run in this process; and how long streams are."""

import threading
import warnings
from collections.abc import Callable, Iterator
from itertools import count, cycle, pairwise, repeat
from operator import length_hint
from typing import Any, Final

import pytest
from tests.files import mark, marks
from tests.limits import TIME_LIMIT, until
from tqdm import tqdm

import pmap as door
from pmap import CancelledError, Failure, OptionError, Pool, Progress, call
from pmap._jobs import progress as _progress

serial = door.pmap.using(backend="serial")
threads = door.pmap.using(backend="threads", processes=2)
BACKENDS: Final = [serial, threads]


def inverse(x: int) -> float:
    return 1 / x


class Told(list[Progress]):
    """All that was told, and what holds of it in any case."""

    def __call__(self, event: Progress) -> None:
        self.append(event)

    def check(self, total: int | None = None) -> Progress:
        """Return the last; there is nothing behind it."""
        assert [event.finished for event in self] == [False] * (len(self) - 1) + [True]
        for one, other in pairwise(self):
            assert one.done <= other.done
            assert one.failed <= other.failed
            assert one.retried <= other.retried
            assert 0 <= one.elapsed <= other.elapsed
        assert all(event.done <= event.total for event in self if event.total is not None)
        last = self[-1]
        if total is not None:
            assert (last.done, last.total) == (total, total)
        return last


# --- each verb, each form ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_every_form_tells_of_all_items(verb: door.Map) -> None:
    rows = door.pstarmap.using(**_options(verb))
    forms: list[Callable[[Told], object]] = [
        lambda told: verb(abs, range(5), progress=told),
        lambda told: verb.async_(abs, range(5), progress=told).get(TIME_LIMIT),
        lambda told: list(verb.iter(abs, range(5), progress=told)),
        lambda told: list(verb.iter_unordered(abs, range(5), progress=told)),
        lambda told: verb.collecting(abs, range(5), progress=told),
        lambda told: rows(pow, [(2, 3)] * 5, progress=told),
        lambda told: rows.async_(pow, [(2, 3)] * 5, progress=told).get(TIME_LIMIT),
        lambda told: list(rows.iter(pow, [(2, 3)] * 5, progress=told)),
    ]
    for form in forms:
        told = Told()
        form(told)
        last = told.check(total=5)
        # One that runs in the background may have ended before anybody could be told of it.
        assert len(told) == 1 or (told[0].done, told[0].finished) == (0, False)
        assert (last.failed, last.retried, last.label) == (0, 0, told[0].label)
        assert last.label in ("abs", "pow")


def _options(verb: door.Map) -> Any:
    return verb._settings.worker._asdict()


def test_single_calls_and_different_calls_are_told_of() -> None:
    one, many = Told(), Told()
    assert door.papply.using(backend="serial", progress=one)(int, "ff", base=16) == 255
    assert one.check(total=1).label == "int"
    calls = door.pcall.using(backend="serial", progress=many)
    assert calls(call(abs, -1), call(int, "2")) == (1, 2)
    assert many.check(total=2).label == "pcall"
    told = Told()
    assert serial(lambda x: x + 1, [1], progress=told) == [2]
    assert told.check().label == "pmap"


def test_a_pool_and_its_streams_take_it() -> None:
    with door.ThreadPool(2) as pool:
        asked: list[Callable[[Told], object]] = [
            lambda told: door.pmap(abs, range(5), pool=pool, progress=told),
            lambda told: list(pool.imap(abs, range(5), progress=told)),
            lambda told: list(pool.imap_unordered(abs, range(5), 2, progress=told)),
            lambda told: list(pool.istarmap(pow, [(2, 3)] * 5, progress=told)),
        ]
        for ask in asked:
            told = Told()
            ask(told)
            assert told.check(total=5).failed == 0


def test_what_is_empty_has_an_end_and_no_beginning() -> None:
    told = Told()
    assert serial(abs, [], progress=told) == []
    assert told.check(total=0)
    assert len(told) == 1


# --- what is counted -----------------------------------------------------------------------------


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_failures_and_further_tries_are_counted(verb: door.Map) -> None:
    told = Told()
    results = verb.collecting(inverse, [1, 0, 2, 0], progress=told)
    assert [isinstance(result, Failure) for result in results] == [False, True, False, True]
    assert told.check(total=4).failed == 2
    told = Told()
    stream = verb.collecting.iter(inverse, [1, 0, 2, 0], progress=told)
    assert sum(isinstance(result, Failure) for result in stream) == 2
    assert told.check(total=4).failed == 2
    told = Told()
    options: Any = {"retries": 2, "retry_on": ZeroDivisionError}
    verb.collecting(inverse, [1, 0], progress=told, **options)
    last = told.check(total=2)
    assert (last.failed, last.retried) == (1, 2)


def test_failures_of_a_pools_stream_are_counted() -> None:
    told = Told()
    with door.ThreadPool(1) as pool:
        stream = pool.imap(inverse, [1, 0, 2], progress=told)
        assert next(stream) == 1
        with pytest.raises(ZeroDivisionError):
            next(stream)
        assert next(stream) == 0.5
        with pytest.raises(StopIteration):
            next(stream)
    assert told.check(total=3).failed == 1


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_a_call_that_fails_has_an_end(verb: door.Map) -> None:
    told = Told()
    with pytest.raises(ZeroDivisionError):
        verb(inverse, [1, 0, 2], progress=told)
    assert told.check().failed == 1
    told = Told()
    with pytest.raises(ZeroDivisionError):
        list(verb.iter(inverse, [1, 0, 2], progress=told))
    assert told.check().failed == 1


def wait_until_seen(folder: str, number: int) -> int:
    """Return when it was told that all items before this one are finished."""
    until(lambda: not number or str(number) in marks(folder), f"the count of {number} items")
    return number


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_items_are_counted_while_their_chunk_runs(verb: door.Map, tmp_path: Any) -> None:
    told = Told()

    def tell(event: Progress) -> None:
        told(event)
        mark(str(tmp_path), event.done)

    folder = [str(tmp_path)] * 4
    verb(wait_until_seen, folder, range(4), progress=tell, chunksize=4, processes=1)
    told.check(total=4)
    assert [event.done for event in told][:-1] == [0, 1, 2, 3]


def test_a_stream_says_its_total_as_soon_as_it_is_known() -> None:
    def numbers(upto: int) -> Iterator[int]:
        yield from range(upto)

    told = Told()
    with serial.iter(abs, numbers(3), progress=told, buffersize=1) as stream:
        assert told == []  # nothing runs yet
        next(stream)
        assert told[0].total is None
        list(stream)
    told.check(total=3)
    told = Told()
    list(serial.iter(abs, [1, 2, 3], progress=told, buffersize=1))
    assert {event.total for event in told} == {3}


class Liar(list[int]):
    """A list that says that it is shorter than it is."""

    def __len__(self) -> int:
        return 1


def test_an_input_that_has_more_than_it_said_is_believed_no_more() -> None:
    told = Told()
    list(serial.iter(abs, Liar([1, 2, 3]), progress=told, buffersize=1))
    told.check(total=3)


# --- the function --------------------------------------------------------------------------------


def test_a_function_that_raises_costs_a_warning_and_nothing_else() -> None:
    told = Told()

    def bad(event: Progress) -> None:
        told(event)
        raise ValueError("no")

    with pytest.warns(
        RuntimeWarning, match=r"progress=bad raised ValueError: no \(.*py:\d+\)"
    ) as w:
        assert serial(abs, [-1, 2], progress=bad) == [1, 2]
    assert len(w) == 1
    assert [event.finished for event in told] == [False, True]  # so that it can tidy up


def test_where_warnings_are_errors_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def bad(_: Progress) -> None:
        raise SystemExit(3)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert serial(abs, [-1, 2], progress=bad) == [1, 2]
    assert "SystemExit" in caplog.text


def test_it_may_cancel_the_call_that_it_is_told_of() -> None:
    told = Told()
    go = threading.Event()
    handle: list[door.AsyncResult[list[bool]]] = []

    def tell(event: Progress) -> None:
        told(event)
        if event.done == 1 and not event.finished:
            handle[0].cancel()
            go.set()

    def item(x: int) -> bool:
        return x == 0 or go.wait(TIME_LIMIT)

    handle.append(threads.async_(item, range(4), progress=tell, chunksize=4, processes=1))
    with pytest.raises(CancelledError):
        handle[0].get(TIME_LIMIT)
    until(lambda: told[-1].finished, "the end")
    told.check()


def test_one_that_does_not_return_does_not_keep_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "_LAST_WAIT", 0.01)
    told = Told()
    entered, go = threading.Event(), threading.Event()

    def tell(event: Progress) -> None:
        told(event)
        if event.done == 1 and not event.finished:
            entered.set()
            assert go.wait(TIME_LIMIT)

    def item(x: int) -> int:
        assert x == 0 or entered.wait(TIME_LIMIT)
        return x

    assert threads(item, range(3), progress=tell, chunksize=3, processes=1) == [0, 1, 2]
    assert not told[-1].finished
    go.set()
    until(lambda: told[-1].finished, "the end")
    told.check(total=3)


def test_no_two_calls_of_it_overlap_and_none_holds_the_engines_lock() -> None:
    inside: list[int] = []
    most: list[int] = []

    def tell(_: Progress) -> None:
        inside.append(1)
        most.append(len(inside))
        assert threads(abs, [-1]) == [1]  # it may use the pool itself
        inside.pop()

    told = [Told() for _ in range(3)]
    later = [threads.async_(abs, range(9), chunksize=1, progress=one) for one in told]
    assert threads(abs, range(99), chunksize=1, progress=tell) == [*range(99)]
    assert [handle.get(TIME_LIMIT) for handle in later] == [[*range(9)]] * 3
    for one in told:
        one.check(total=9)
    assert {*most} == {1}


def test_calls_inside_an_item_are_told_of_only_where_a_function_is_given() -> None:
    def item(_: int) -> tuple[list[int], list[int]]:
        told = Told()
        results = door.pmap(abs, [-1], progress=told)
        told.check(total=1)
        return results, door.pmap(abs, [-2], progress=True)

    assert serial(item, [1]) == [([1], [2])]


def test_nothing_is_shown_where_stderr_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert serial(abs, [-1], progress=True) == [1]
    assert serial(abs, [-1], progress="label") == [1]
    assert capfd.readouterr() == ("", "")


def test_there_is_a_thread_only_while_something_is_shown() -> None:
    def threads_of_it() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "pmap-progress"]

    seen: list[int] = []
    serial(lambda _: seen.append(len(threads_of_it())), [1], progress=Told())
    until(lambda: not threads_of_it(), "the end of the thread")
    serial(lambda _: seen.append(len(threads_of_it())), [1])
    assert seen == [1, 0]
    assert not _progress._watches


@pytest.mark.parametrize("wrong", [3, None, 1.5, [], Progress, Told])
def test_what_is_no_way_to_show_it_is_refused(wrong: Any) -> None:
    with pytest.raises(OptionError, match=r"progress is True for a bar, a string"):
        door.pmap(abs, [1], progress=wrong)


def test_a_coroutine_function_is_refused() -> None:
    async def tell(_: Progress) -> None: ...

    def tells(event: Progress) -> Iterator[Progress]:
        yield event

    for wrong in (tell, tells):
        with pytest.raises(OptionError, match="nobody awaits it"):
            door.pmap(abs, [1], progress=wrong)
    with pytest.raises(OptionError, match=r"pool=pool, progress=\.\.\."):
        Pool(2, progress=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


# --- how long a stream is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "hint"),
    [
        (([1, 2],), 2),
        ((repeat(1),), 3),
        ((count(), cycle([1])), 3),
        ((repeat(1, 2),), 2),
        ((map(abs, [1]),), -1),
        ((iter([1]),), 1),
    ],
)
def test_the_shortest_iterable_counts(others: tuple[Any, ...], hint: int) -> None:
    stream = serial.iter(lambda *row: sum(row), [1, 2, 3], *others)
    assert length_hint(stream, -1) == hint
    assert len([*stream]) == (1 if hint < 0 else hint)


class Shy(list[int]):
    """A list that does not want to be asked."""

    def __len__(self) -> int:
        raise RuntimeError("not that")


def test_an_input_that_fails_when_it_is_asked_has_no_length() -> None:
    stream: Any = serial.iter(abs, Shy([1, 2]))
    assert length_hint(stream, -1) == -1
    with pytest.raises(TypeError, match="has no length"):
        len(stream)
    assert next(stream) == 1
    stream.close()
    assert length_hint(stream, -1) == 0


def test_tqdm_knows_the_total_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # or it starts a thread
    with open("/dev/null", "w", encoding="utf-8") as nowhere:
        bar = tqdm(serial.iter(abs, [-1, 2]), file=nowhere)
        assert bar.total == 2
        assert [*bar] == [1, 2]
