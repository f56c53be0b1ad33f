"""What items print and write is out when their results are told, wherever the output goes."""

import contextlib
import io
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.process.output_items import as_bytes, in_a_fork, in_a_thread, of_their_own
from tests.scripts import environment, finished, program

from pmap import Pool, TaskTimeout, WorkerLost, gather, pmap
from pmap._jobs.reports import Report

if TYPE_CHECKING:
    from pmap._types import StartMethod


def printed(method: str, body: str, folder: Path) -> str:
    """Return what a script prints into a pipe, whose output Python keeps back as usual."""
    (folder / "script.py").write_text(program(method, body))
    done = finished(["script.py"], folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


FORMS: Final = {
    "verb": "pmap(say, range(4))",
    "builtin": "pmap(print, range(4))",
    "call": "papply(say, 0); papply(say, 1); papply(say, 2); papply(say, 3)",
    "pool": "Pool(2, context=get_context(method)).map(say, range(4))",
    "with pool": "\nwith Pool(2, context=get_context(method)) as pool: pool.map(say, range(4))",
    "stream": "list(pmap.iter(say, range(4)))",
    "coroutine": "asyncio.run(main())",
    "isolated": "pmap(say, range(4), isolate=True)",
}


@pytest.mark.parametrize("form", FORMS)
def test_all_that_was_printed_is_there(
    form: str, start_method: "StartMethod", tmp_path: Path
) -> None:
    body = f"""
import asyncio
from multiprocessing import get_context
method = {start_method!r}
def say(x): print(x)
async def main(): await pmap.async_(say, range(4))
print("before")
{FORMS[form]}
print("after")
"""
    before, *lines, after = printed(start_method, body, tmp_path).split()
    assert (before, sorted(lines), after) == ("before", ["0", "1", "2", "3"], "after")


def test_a_line_comes_before_its_result(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
def say(x):
    print("item", x)
    return x
for x in pmap.iter(say, range(50), chunksize=3):
    print("result", x)
"""
    lines = printed(start_method, body, tmp_path).splitlines()
    assert len(lines) == 100
    for x in range(50):
        assert lines.index(f"item {x}") < lines.index(f"result {x}")


def test_it_comes_also_where_nobody_takes_the_results(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    body = """
def say(x): print("item", x)
pending = pmap.async_(say, range(3))
pending.wait()
"""
    assert sorted(printed(start_method, body, tmp_path).splitlines()) == [
        "item 0",
        "item 1",
        "item 2",
    ]


def speak_and_end(x: int) -> int:
    print(f"item {x}")
    if x == 5:
        os._exit(3)
    return x


@pytest.mark.parametrize("chunksize", [1, 3, 10])
def test_what_finished_items_printed_outlives_their_worker(
    chunksize: int, start_method: "StartMethod", capsys: pytest.CaptureFixture[str]
) -> None:
    verb = pmap.using(processes=1, start_method=start_method, chunksize=chunksize)
    with pytest.raises(WorkerLost):
        verb(speak_and_end, range(8))
    lines = capsys.readouterr().out.splitlines()
    assert [f"item {x}" for x in range(5)] == lines[:5]


class Log:
    """A file that each worker keeps open."""

    file: io.TextIOWrapper
    more: io.BufferedWriter


def open_files(folder: str) -> None:
    Log.file = Path(folder, f"{os.getpid()}.txt").open("w")  # noqa: SIM115
    Log.more = Path(folder, f"{os.getpid()}.bin").open("wb")  # noqa: SIM115


def write(x: int) -> int:
    if x == 4:
        threading.Event().wait()
    Log.file.write(f"{x}\n")
    Log.more.write(f"{x}\n".encode())
    return x


def test_what_finished_items_wrote_outlives_their_worker(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    verb = pmap.using(
        processes=1, start_method=start_method, initializer=open_files, initargs=[str(tmp_path)]
    )
    with pytest.raises(TaskTimeout):
        verb(write, range(5), timeout=0.3)
    for ending in ("txt", "bin"):
        (path,) = tmp_path.glob(f"*.{ending}")
        assert path.read_text().split() == ["0", "1", "2", "3"]


def open_late(path: str) -> int:
    if not hasattr(Log, "file"):
        Path(path).write_text("")  # one that is closed again
        Log.file = Path(path).open("a")  # noqa: SIM115
    return Log.file.write("x")


def test_a_file_that_an_item_opens_is_one_of_them(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    path = tmp_path / "late.txt"
    verb = pmap.using(processes=1, start_method=start_method, initializer=_no_file)
    for count in (1, 2, 3):
        verb(open_late, [str(path)])
        assert path.read_text() == "x" * count


def open_to_change(path: str) -> int:
    Log.file = Path(path).open("r+")  # noqa: SIM115
    return Log.file.write("x")


def test_a_file_that_is_opened_to_be_changed_is_one_of_them(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    path = tmp_path / "there.txt"
    path.write_text("abc")
    pmap.using(processes=1, start_method=start_method)(open_to_change, [str(path)])
    assert path.read_text() == "xbc"


def _no_file() -> None:
    if hasattr(Log, "file"):
        del Log.file


def test_what_the_caller_has_not_written_yet_is_not_written_twice(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    path = tmp_path / "own.txt"
    with path.open("w") as own:
        own.write("mine\n")
        verb = pmap.using(processes=1, start_method=start_method, initializer=open_files)
        verb(write, range(3), initargs=[str(tmp_path)])
    assert path.read_text() == "mine\n"


# --- where it goes --------------------------------------------------------------------------------


def speak(x: int) -> int:
    print("out", x)
    print("err", x, file=sys.stderr)
    return x


def test_it_goes_where_the_callers_streams_lead(start_method: "StartMethod") -> None:
    out, err = io.StringIO(), io.StringIO()
    verb = pmap.using(processes=1, start_method=start_method)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        verb(speak, range(3))
    assert out.getvalue() == "out 0\nout 1\nout 2\n"
    assert err.getvalue() == "err 0\nerr 1\nerr 2\n"


def test_it_goes_where_they_led_when_the_call_was_made() -> None:
    first, second = io.StringIO(), io.StringIO()
    verb = pmap.using(processes=1).async_
    with contextlib.redirect_stdout(first):
        one = verb(speak, [1])
    with contextlib.redirect_stdout(second):
        other = verb(speak, [2])
    gather(one, other).get()
    assert (first.getvalue(), second.getvalue()) == ("out 1\n", "out 2\n")


REDIRECTED: Final = """
import subprocess
from pmap import shutdown
def say(name):
    print("printed", name)
    os.write(1, f"written {name}\\n".encode())
    subprocess.run(["echo", "started", name])
pmap = pmap.using(processes=1)
pmap(say, ["before"])
sys.stdout.flush()
out = os.dup(1)
os.dup2(os.open("file", os.O_WRONLY | os.O_CREAT), 1)
pmap(say, ["warm"])
shutdown()
pmap(say, ["new"])
sys.stdout.flush()
os.dup2(out, 1)
"""


def test_where_output_goes_when_the_descriptor_leads_elsewhere(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    ways = "printed", "written", "started"
    out = printed(start_method, REDIRECTED, tmp_path).splitlines()
    # What is not printed goes where the descriptor led when the workers began.
    assert sorted(out) == sorted(
        [*[f"{way} before" for way in ways], "written warm", "started warm"]
    )
    file = (tmp_path / "file").read_text().splitlines()
    assert sorted(file) == sorted(["printed warm", *[f"{way} new" for way in ways]])


class Refusing(io.StringIO):
    def write(self, text: str, /) -> int:
        raise ValueError("no more")


@pytest.mark.parametrize(
    ("stream", "why"), [(None, None), (Refusing(), "ValueError('no more')"), (5, "AttributeError")]
)
def test_streams_that_take_nothing_cost_no_result(
    stream: object, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pmap._jobs.reports._warned", set[str]())
    before = sys.stdout
    sys.stdout = cast(io.TextIOWrapper, stream)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert pmap(speak, range(3)) == [0, 1, 2]
    finally:
        sys.stdout = before
    said = [str(one.message) for one in caught if "multi-threaded" not in str(one.message)]
    assert len(said) == (why is not None)  # once, however many items print
    if why is not None:
        assert "what items print could not be written to sys.stdout, and is lost" in said[0]
        assert why in said[0]


FULL: Final = """
import sys
from pmap import pmap
def say(x): print("y" * 20_000); return x
print(pmap(say, range(4), processes=2, start_method={method!r}), file=sys.stderr)
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a file that takes nothing")
def test_a_full_disk_is_told(start_method: "StartMethod", tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(FULL.format(method=start_method))
    for options in ([], ["-W", "error"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, *options, "script.py"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=environment() | {"PYTHONUNBUFFERED": ""},
                check=False,
            )
        assert "[0, 1, 2, 3]\n" in done.stderr
        assert done.stderr.count("sys.stdout, and is lost: OSError") == 1


def whole_lines(seed: int) -> int:
    for count in range(4):
        letter = "abcdefghij"[(seed + count) % 10]
        sys.stdout.write(letter * (seed * 997 % 30_000))
        sys.stdout.write(letter + "\n")
    return seed


def test_lines_do_not_mix(start_method: "StartMethod", capfd: pytest.CaptureFixture[str]) -> None:
    pmap.using(processes=4, start_method=start_method)(whole_lines, range(40), chunksize=2)
    lines = capfd.readouterr().out.splitlines()
    assert sorted(lines) == sorted(
        "abcdefghij"[(seed + count) % 10] * (seed * 997 % 30_000 + 1)
        for seed in range(40)
        for count in range(4)
    )


def write_pieces(pieces: list[str]) -> int:
    for piece in pieces:
        if piece == "!":
            sys.stdout.flush()
        else:
            sys.stdout.write(piece)
    return len(pieces)


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(["", "a", "ä\n", "\n", "🙂", "!", "long" * 3000]))))
def test_one_worker_prints_what_the_serial_loop_does(rows: list[list[str]]) -> None:
    want, got = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(want):
        for row in rows:
            write_pieces(row)
    with contextlib.redirect_stdout(got):
        pmap.using(processes=1)(write_pieces, rows)
    assert got.getvalue() == want.getvalue()


# --- who prints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "lines"),
    [
        (in_a_thread, ["thread 0", "thread 1"]),
        (in_a_fork, ["before 0", "before 1", "fork 0", "fork 1"]),
        (as_bytes, ["bytes 0 \udcff", "bytes 1 \udcff"]),
        (of_their_own, ["mine 0", "mine 1"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_everything_prints(
    function: object, lines: list[str], start_method: "StartMethod", tmp_path: Path
) -> None:
    name = getattr(function, "__name__", "")
    body = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.process.output_items import {name}
pmap({name}, range(2))
"""
    (tmp_path / "script.py").write_text(program(start_method, body))
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, stdout=out, timeout=60)
    assert done.returncode == 0
    text = (tmp_path / "out").read_text(errors="surrogateescape")
    assert sorted(text.splitlines()) == lines


def ask(_: object) -> tuple[str, bool, bool]:
    return sys.stdout.encoding, sys.stdout.isatty(), sys.stdout is sys.__stdout__


def test_the_stream_is_as_the_callers(start_method: "StartMethod") -> None:
    before = sys.stdout
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    try:
        with Pool(1, context=get_context(start_method)) as pool:
            assert pool.map(ask, [0]) == [("latin-1", False, True)]
    finally:
        sys.stdout = before


def test_what_prints_nothing_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from pmap._backends.connection import Connection

    reports: list[Report] = []

    def report(connection: Connection, *given: Any) -> Report:
        reports.append(usual(connection, *given))
        return reports[-1]

    usual: Callable[..., Report] = Connection._report
    monkeypatch.setattr(Connection, "_report", report)
    with Pool(2) as pool:
        pool.map(abs, range(1000))
        assert not reports
        pool.map(speak, range(10), chunksize=5)
        assert len(reports) == 20  # of each stream of each item


def slow_then_done(path: str) -> None:
    print("a line")
    print("part of a", end="", flush=True)
    while not Path(path).exists():
        pass
    print(" line")


def test_a_line_is_seen_while_its_item_runs(start_method: "StartMethod", tmp_path: Path) -> None:
    class Watching(io.StringIO):
        def write(self, text: str, /) -> int:
            if "part of a" in text:
                (tmp_path / "seen").touch()
            return super().write(text)

        # As the streams of notebooks, which are nobody's StringIO.
        __module__ = "elsewhere"

    stream = Watching()
    verb = pmap.using(processes=1, start_method=start_method)
    with contextlib.redirect_stdout(stream):
        verb(slow_then_done, [str(tmp_path / "seen")])
    assert stream.getvalue() == "a line\npart of a line\n"


def flush_and_look(path: str) -> None:
    print("flushed", flush=True)
    while Path(path).read_text() != "flushed\n":
        pass


def test_what_an_item_flushes_is_flushed(start_method: "StartMethod", tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    verb = pmap.using(processes=1, start_method=start_method)
    with path.open("w") as out, contextlib.redirect_stdout(out):
        verb(flush_and_look, [str(path)])


def print_much(x: int) -> int:
    for _ in range(3000):
        print("x" * 70)
    return x


def test_much_output_stands_in_nobodys_way(start_method: "StartMethod") -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        pmap.using(processes=2, start_method=start_method)(print_much, range(4))
    assert out.getvalue() == ("x" * 70 + "\n") * 12_000


def test_a_stream_prints_while_it_is_read() -> None:
    out = io.StringIO()
    seen: list[tuple[int, bool]] = []
    with contextlib.redirect_stdout(out):
        stream = pmap.using(processes=2).iter(speak, range(200))
        seen.extend((x, f"out {x}\n" in out.getvalue()) for x in stream)
    assert seen == [(x, True) for x in range(200)]
