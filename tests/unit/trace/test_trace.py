"""Traces of items that run in this process; what a recording makes of events; pictures, files."""

import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from tests.traces import check, check_spans, check_sums, saved, tries

import pmap as door
from pmap import OptionError, Trace, TraceSpan
from pmap._engine.state import EngineState
from pmap._jobs.job import Job
from pmap._trace import json_file, records, svg
from pmap._trace.recording import shift_into
from pmap._trace.summary import summed

serial = door.pmap.using(backend="serial")
threads = door.pmap.using(backend="threads", processes=2)
BACKENDS: Final = [serial, threads]


def inverse(x: int) -> float:
    return 1 / x


# --- each verb, each form ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_every_form_notes_all_items(verb: door.Map) -> None:
    options = verb._settings
    rows, once, several = (
        door.StarMap(options),
        door.Apply(options),
        type(door.pcall)(options),
    )
    forms: list[tuple[Callable[[Trace], object], int]] = [
        (lambda trace: verb(abs, range(5), trace=trace), 5),
        (lambda trace: verb.async_(abs, range(5), trace=trace).get(), 5),
        (lambda trace: list(verb.iter(abs, range(5), trace=trace)), 5),
        (lambda trace: list(verb.iter_unordered(abs, iter(range(5)), trace=trace)), 5),
        (lambda trace: rows(pow, [(2, 3), (3, 2)], trace=trace), 2),
        (lambda trace: list(rows.iter(pow, [(2, 3)], trace=trace)), 1),
        (lambda trace: once.using(trace=trace)(abs, -1), 1),
        (lambda trace: once.using(trace=trace).async_(abs, -1).get(), 1),
        (lambda trace: several.using(trace=trace)(door.call(abs, -1), lambda: 2), 2),
        (lambda trace: verb(abs, list[int](), trace=trace), 0),
    ]
    for form, items in forms:
        trace = Trace()
        form(trace)
        spans = check(trace, items)
        assert all(span.attempt == 1 and not span.failed for span in spans)


def test_a_stream_ends_when_its_trace_has_the_end_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Event()
    end = EngineState._end_job

    def end_late(state: EngineState, job: Job) -> None:
        read.wait(0.2)  # as long as another thread may take to come here
        end(state, job)

    monkeypatch.setattr(EngineState, "_end_job", end_late)
    trace = Trace()
    assert list(threads.iter(abs, range(5), trace=trace)) == [0, 1, 2, 3, 4]
    ended = [call.ended for call in trace._records.snapshot().calls.values()]
    read.set()
    assert None not in ended
    assert len(ended) == 1


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_failed_items_and_further_tries_are_noted(verb: door.Map) -> None:
    trace = Trace()
    verb.collecting(inverse, [1, 0, 2], trace=trace, retries=2, retry_on=ZeroDivisionError)
    spans = check(trace, {0: 1, 1: 3, 2: 1})
    failed = [span for span in spans if span.kind == "item" and span.failed]
    assert [(span.item_index, span.attempt) for span in failed] == [(1, 1), (1, 2), (1, 3)]
    assert trace.summary().failed == 3


@pytest.mark.parametrize("verb", BACKENDS, ids=str)
def test_a_call_that_fails_has_what_ran(verb: door.Map) -> None:
    trace = Trace()
    with pytest.raises(ZeroDivisionError):
        verb(inverse, [0, 1, 2], trace=trace, chunksize=3)
    check(trace, 1)


def test_a_stream_that_is_left_is_over() -> None:
    trace = Trace()
    with threads.iter(abs, iter(int, 1), trace=trace) as results:
        next(results)
    threads(abs, [1])  # what was cancelled is known to the engine by now
    assert [call.ended is not None for call in trace._records.calls.values()] == [True]
    first = trace.spans()
    assert first == trace.spans()  # no span grows any more
    check_spans(first)
    check_sums(trace, first)


def test_a_trace_can_be_read_while_a_call_runs() -> None:
    trace, seen = Trace(), list[int]()

    def look(x: int) -> int:
        spans = trace.spans()
        check_spans(spans)
        seen.append(sum(1 for _ in tries(spans)))
        return x

    serial(look, range(3), trace=trace, chunksize=1)
    assert seen == [0, 1, 2]
    check(trace, 3)


def test_one_trace_has_all_calls_of_a_block() -> None:
    trace = Trace()
    with door.defaults(trace=trace, backend="serial"):
        door.pmap(abs, [1, 2])
        door.pmap(str, [3])
        door.pmap(abs, [4], trace=False)
    door.pmap(abs, [5], backend="serial")
    spans = check(trace, {0: 2, 1: 1})
    assert {span.call for span in spans if span.kind == "item"} == {0, 1}
    assert repr(trace) == "<Trace of 2 calls, 3 items>"
    assert "0/1" in str(trace.summary())
    title = ET.fromstring(trace._repr_svg_())[0]
    assert title.text == "2 calls: pmap(abs), pmap(str)"


def test_the_calls_of_items_are_noted_in_what_they_are_given() -> None:
    outer, inner = Trace(), Trace()

    def nested(x: int) -> list[int]:
        return serial(abs, [x, -x], trace=inner)

    assert serial(nested, [1, 2], trace=outer) == [[1, 1], [2, 2]]
    check(outer, 2)
    check(inner, {0: 2, 1: 2})


def test_two_traces_at_once_have_their_own_items() -> None:
    one, other = Trace(), Trace()
    later = threads.async_(abs, range(50), trace=one, chunksize=2)
    threads(abs, range(20), trace=other, chunksize=2)
    later.get()
    check(one, 50)
    check(other, 20)


def test_what_yields_in_the_same_thread_overlaps_in_no_worker() -> None:
    trace = Trace()
    results = [threads.async_(abs, range(20), trace=trace, chunksize=1) for _ in range(3)]
    assert [one.get() for one in results] == [[*range(20)]] * 3
    check(trace, dict.fromkeys(range(20), 3))


def test_calls_of_several_pools_write_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST", 500)
    trace = Trace()

    def call(processes: int) -> None:
        with door.ThreadPool(processes) as own:
            for _ in range(8):
                door.pmap(abs, range(20), pool=own, chunksize=1, trace=trace)
                check_spans(trace.spans())

    callers = [Thread(target=call, args=(processes,)) for processes in (1, 2, 3)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    about = trace.summary()
    assert about.items + about.dropped == 3 * 8 * 20
    check_spans(trace.spans())


# --- the option ----------------------------------------------------------------------------------


def test_true_makes_a_trace_that_is_the_last() -> None:
    serial(abs, [1, 2], trace=True)
    found = Trace.last()
    check(found, 2)
    serial(abs, [1])
    assert Trace.last() is found
    given = Trace()
    serial(abs, [1], trace=given)
    assert Trace.last() is given


def test_the_last_is_that_of_the_thread() -> None:
    serial(abs, [1], trace=True)
    raised: list[str] = []

    def ask() -> None:
        try:
            Trace.last()
        except LookupError as error:
            raised.append(str(error))

    thread = Thread(target=ask)
    thread.start()
    thread.join()
    assert ["trace=True" in message for message in raised] == [True]


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", ["run.svg", "run.json", "RUN.SVG"])
def test_a_path_has_the_trace_when_the_call_returns(
    kind: Callable[[Path], Any], name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    serial(abs, [1, 2], trace=kind(path))
    first = saved(path) if path.suffix in (".svg", ".json") else path.read_text("utf-8")
    assert "pmap(abs)" in first
    list(serial.iter(str, [1], trace=kind(path)))
    assert "pmap(str)" in path.read_text("utf-8")
    with pytest.raises(ZeroDivisionError):
        serial(inverse, [0], trace=kind(path))
    assert "pmap(inverse)" in path.read_text("utf-8")


def test_a_trace_that_cannot_be_saved_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Trace, path: str) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(Trace, "save", full)
    with pytest.warns(RuntimeWarning, match=r"run\.svg.*No space left on device"):
        assert serial(abs, [-1], trace=tmp_path / "run.svg") == [1]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1, "trace is True, a path that ends with .svg or .json, a pmap.Trace, or False"),
        (None, "trace is True"),
        (b"run.svg", "trace is True"),
        (Trace, "did you mean Trace()?"),
        ("run.png", ".svg (a picture) or .json (for Perfetto and Chrome)"),
        ("run", ".svg (a picture)"),
        ("", ".svg (a picture)"),
        ("no/such/folder/run.svg", "there is no directory"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_starts(value: Any, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        serial(pytest.fail, ["it has begun"], trace=value)
    assert caught.value.option == "trace"
    assert said in str(caught.value)


def test_a_trace_is_saved_as_what_its_suffix_says(tmp_path: Path) -> None:
    trace = Trace()
    serial(abs, [1], trace=trace)
    for name in ("a.svg", "a.json"):
        trace.save(tmp_path / name)
        saved(tmp_path / name)
    with pytest.raises(ValueError, match=r"\.svg \(a picture\) or \.json"):
        trace.save(tmp_path / "a.txt")
    assert not (tmp_path / "a.txt").exists()


def test_an_empty_trace_has_a_picture_too() -> None:
    trace = Trace()
    assert trace.spans() == ()
    assert "no calls" in trace._repr_svg_()
    check(trace, 0)
    assert repr(trace) == "<Trace of 0 calls, 0 items>"


def test_a_trace_is_pickled_with_what_it_has() -> None:
    trace = Trace()
    serial(abs, [1, 2], trace=trace)
    copy: Trace = pickle.loads(pickle.dumps(trace))
    assert copy.spans() == trace.spans()
    serial(abs, [1, 2], trace=copy)
    check(copy, dict.fromkeys(range(2), 2))
    check(trace, 2)
    assert repr(serial.using(trace=trace)).startswith("pmap.using(backend='serial', trace=<Trace")


def test_a_call_that_is_not_traced_calls_nothing_of_it() -> None:
    import sys
    import threading

    called: set[str] = set()

    def note(frame: Any, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code.co_filename)

    serial(abs, [1])
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        serial(abs, range(10), chunksize=1)
        threads(abs, range(10), chunksize=1)
        list(serial.iter(abs, range(10)))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    ours = {Path(name).parts[-2:] for name in called if "pmap" in name}
    assert ("_engine", "state.py") in ours
    assert not [name for name in ours if name[0] == "_trace" or "timing" in name[1]]


# --- what a recording makes of the events of an engine -------------------------------------------


def test_a_worker_with_another_clock_is_put_where_its_chunk_was() -> None:
    assert shift_into(11, 12, 10, 15) == 0
    shift = shift_into(111, 112, 10, 15)
    assert (111 + shift, 112 + shift) == (12, 13)


def test_a_trace_keeps_the_last_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST", 100)
    trace = Trace()
    serial(abs, range(1000), trace=trace, chunksize=10)
    about = trace.summary()
    assert about.items + about.dropped == 1000
    assert 80 <= about.items <= 100
    spans = check(trace, dict.fromkeys(range(about.dropped, 1000), 1))
    assert min(span.start for span in spans) > 0
    assert f"{about.dropped} earlier" in str(about)
    with door.defaults(trace=trace):
        for _ in range(300):
            serial(abs, [1])
    assert len(trace._records.calls) <= 101


# --- pictures, files -----------------------------------------------------------------------------


def many(items: int, seconds: float, workers: int = 4) -> tuple[TraceSpan, ...]:
    """Return the spans of so many items, which take so long, in chunks of ten."""

    def of(worker: int) -> Iterator[TraceSpan]:
        for at in range(worker, items // 10, workers):
            start = at // workers * seconds * 11
            yield TraceSpan("chunk", worker, start, start + seconds * 10, 0, at * 10, 10)
            for number in range(10):
                begin, index = start + number * seconds, at * 10 + number
                failed = int(index == 7)
                end = begin + seconds * 0.9
                yield TraceSpan("item", worker, begin, end, 0, index, 1, 1, failed)
            yield TraceSpan("waiting", worker, start + seconds * 10, start + seconds * 11)

    return tuple(span for worker in range(workers) for span in of(worker))


@pytest.mark.parametrize("items", [100, 2000, 30_000])
def test_a_picture_stays_small(items: int) -> None:
    picture = svg.drawn(many(items, 0.001), ["f"])
    ET.fromstring(picture)
    assert len(picture) < 120_000
    assert 'class="failed"' in picture


def test_a_picture_shows_what_is_short_by_how_much_there_is_of_it() -> None:
    # In the first half the worker is busy a tenth of the time, in the second all of it.
    short = [TraceSpan("item", 0, at / 1e4, at / 1e4 + 1e-5, 0, at, 1) for at in range(10_000)]
    full = [
        TraceSpan("item", 0, 1 + at / 1e4, 1 + (at + 1) / 1e4, 0, at, 1) for at in range(10_000)
    ]
    picture = svg.drawn((*short, *full), ["f"])
    assert 'opacity="0.25"' in picture
    assert 'opacity="1"' in picture
    assert 'opacity="0.5"' not in picture


def test_texts_are_escaped() -> None:
    picture = svg.drawn(many(20, 1.0), ['<b>&"\x00\x1b'])
    assert ET.fromstring(picture)[0].text == '<b>&"  '


def test_coroutines_have_rows_of_their_own_in_a_file() -> None:
    spans = (
        TraceSpan("chunk", 0, 0, 3, 0, 0, 3),
        TraceSpan("item", 0, 0, 2, 0, 0, 1),
        TraceSpan("item", 0, 0, 1, 0, 1, 1),
        TraceSpan("item", 0, 1, 3, 0, 2, 1),
    )
    events = json_file.events_of(spans, {0: "f"})
    rows = [event["tid"] for event in events if event.get("cat") == "item"]
    assert rows == [1, 2, 2]
    about = summed(spans, 0)
    assert (about.running, about.around) == (3, 0)
    json.dumps(events)


def test_no_warning_is_raised_by_any_of_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = Trace()
        serial(abs, range(10), trace=trace)
        check(trace, 10)
