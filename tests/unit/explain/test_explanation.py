"""How an explanation reads, and what runs in the place of the function."""

import re
from dataclasses import FrozenInstanceError, replace
from typing import Final

import pytest

from pmap import Explanation, pmap, pstarmap
from pmap._explain.trial import Batch, Trial

FOUND: Final = Explanation(
    function="<lambda>",
    items=1000,
    tried=12,
    consumed=0,
    only_first=False,
    backend="processes",
    workers=2,
    seconds=0.011,
    bytes_in=262_144,
    bytes_out=97_000,
    carried=1_440_000,
    names=(("table", 1_400_000),),
    largest="the global 'table'",
    unsent="",
    failed="",
    chunks=500,
    chunksize=2,
    serial=11.0,
    threads=11.2,
    processes=5.61,
    start=0.07,
    threads_speedup=0.98,
    processes_speedup=1.96,
    break_even=0.0002,
    verdict="worker processes are <fast>",
)


def test_it_reads_as_a_table() -> None:
    assert str(FOUND).splitlines() == [
        "<lambda>: worker processes are <fast>",
        "  tried                12 of 1000 items, once each, in worker processes",
        "  an item              11 ms",
        "  an item sends        262 kB in, 97 kB out",
        "  function sends       1.4 MB, most of it the global 'table'",
        "  chunks               500, of 2 items at most",
        "  serial, expected     11 s",
        "  threads, expected    11.2 s, 1.0 times as fast as the loop",
        "  processes, expected  5.61 s, 2.0 times as fast as the loop",
        "  pays from            200 us an item on",
        "  first worker         started in 70 ms",
    ]


def test_what_is_not_known_is_left_out() -> None:
    text = repr(
        replace(
            FOUND,
            items=None,
            tried=0,
            consumed=3,
            seconds=None,
            bytes_in=None,
            bytes_out=None,
            carried=None,
            unsent="a lock",
            failed="item 2: no",
            chunks=None,
            serial=None,
            threads=None,
            processes=None,
            threads_speedup=None,
            processes_speedup=None,
            break_even=None,
            start=None,
        )
    )
    assert text.splitlines()[1:] == [
        "  tried           none; 3 were read from an iterator, which does not give them again",
        "  failed          item 2: no",
        "  cannot be sent  a lock",
    ]


def test_an_item_that_may_have_imported_modules_is_marked() -> None:
    text = "an item              11 ms, the first one of its worker, which may take longer"
    assert text in str(replace(FOUND, only_first=True))


def test_in_html_nothing_of_the_users_is_markup() -> None:
    bad = replace(FOUND, failed="item 2: <script>alert('x')</script> & more", unsent="<b>")
    html = bad._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "&lt;lambda&gt;" in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; more" in html
    assert set(re.findall(r"<(\w+)", html)) == {"div", "p", "code", "table", "tr", "th", "td"}
    assert html.count("<tr>") == len(str(bad).splitlines()) - 1


def test_it_is_a_value() -> None:
    assert replace(FOUND) == FOUND
    assert hash(replace(FOUND)) == hash(FOUND)
    with pytest.raises(FrozenInstanceError):
        FOUND.items = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# --- the trial -----------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [False, True])
def test_a_trial_runs_each_item_once_and_goes_on_after_a_failure(looks: bool) -> None:
    ran: list[int] = []

    def work(x: int) -> bytes:
        ran.append(x)
        if x == 2:
            raise ValueError(f"no {x}")
        return bytes(100)

    trial = Trial(work, "work", -1 - looks)
    measured = trial(Batch([7, 8, 9], [((n,), {}) for n in (1, 2, 3)], looks))
    assert ran == [1, 2, 3]
    assert measured.items == 2
    assert measured.failed == (8, "ValueError('no 2')")
    assert measured.pickled == (1 if looks else 2)
    assert 100 <= measured.size / measured.pickled < 200
    assert measured.first
    assert not trial(Batch([], [], looks)).first


def test_what_a_trial_raises_besides_errors_ends_it() -> None:
    def leave(_: int) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        Trial(leave, "leave", -3)(Batch([0], [((1,), {})], True))


# --- the serial backend, in this process ---------------------------------------------------------


def test_the_serial_backend_runs_items_here_and_predicts_nothing() -> None:
    ran: list[int] = []
    found = pmap.explain(ran.append, range(20), backend="serial", chunksize=7)
    assert sorted(ran) == list(range(20))
    assert (found.tried, found.backend, found.workers) == (20, "serial", 1)
    assert (found.chunks, found.chunksize) == (3, 7)
    assert found.serial is not None
    assert found.seconds is not None
    assert found.serial == pytest.approx(20 * found.seconds)
    assert found.threads is found.processes is found.processes_speedup is found.start is None


def test_a_wrong_call_gets_the_error_of_the_verb() -> None:
    with pytest.raises(TypeError, match="second argument xs must be iterable"):
        pmap.explain(abs, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="pstarmap takes a function and rows, got 3"):
        pstarmap.explain(pow, [(1, 2)], 3)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]

    async def later() -> object:
        yield 1

    with pytest.raises(TypeError, match="plain iterables, got an asynchronous one"):
        pmap.explain(abs, later())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
