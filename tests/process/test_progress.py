"""Progress of items in worker processes, and bars as a terminal shows them."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.files import mark, marks, wait_for_file
from tests.limits import TIME_LIMIT, until
from tests.scripts import environment, finished

from pmap import Pool, Progress, ThreadPool, WorkerLost, pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod

ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Told(list[Progress]):
    """All that was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = str(folder)

    def __call__(self, event: Progress) -> None:
        self.append(event)
        mark(self._folder, event.done)


def wait_until_seen(folder: str, number: int, kind: type[int] | type[str]) -> object:
    """Return when it was told that all items before this one are finished."""
    until(lambda: not number or str(number) in marks(folder), f"the count of {number} items")
    return kind(number)


@pytest.mark.parametrize("kind", [int, str])
def test_items_are_counted_while_their_chunk_runs(
    kind: type[int] | type[str], tmp_path: Path, start_method: "StartMethod"
) -> None:
    told = Told(tmp_path)
    one = pmap.using(processes=1, start_method=start_method, progress=told, chunksize=4)
    results = one(wait_until_seen, [str(tmp_path)] * 4, range(4), [kind] * 4)
    assert results == [kind(number) for number in range(4)]
    counts = [event.done for event in told]
    assert counts == [0, 1, 2, 3, 4]
    assert told[-1].finished


def die_at(folder: str, number: int) -> int:
    """End the process at an item, once it was told that the one before is finished."""
    if number == 1:
        until(lambda: "1" in marks(folder), "the count of one item")
        os._exit(3)
    return number


def test_a_dead_worker_costs_one_item_and_no_count_falls(tmp_path: Path) -> None:
    told = Told(tmp_path)
    verb = pmap.collecting.using(processes=1, chunksize=4, progress=told)
    results = verb(die_at, [str(tmp_path)] * 4, range(4))
    assert [getattr(result, "error", result) for result in results if result != results[1]] == [
        *(0, 2, 3)
    ]
    failure = results[1]
    assert not isinstance(failure, int)
    assert isinstance(failure.error, WorkerLost)
    counts = [event.done for event in told]
    assert counts == sorted(counts)
    assert told[-1] == told[-1]._replace(done=4, total=4, failed=1, retried=0, finished=True)


def gate(folder: str, number: int) -> int:
    """Say that it has begun, and wait for the file "go"."""
    mark(folder, f"begun{number}")
    wait_for_file(os.path.join(folder, "go"))
    return number


def test_a_pools_repr_says_what_it_does(tmp_path: Path, start_method: "StartMethod") -> None:
    from multiprocessing import get_context

    with Pool(3, context=get_context(start_method)) as pool:
        assert repr(pool) == f"<Pool 3 processes, 0 busy, 0 items done, {start_method}>"
        pool.map(abs, range(1234), chunksize=1)
        later = pool.starmap_async(gate, [(str(tmp_path), 1), (str(tmp_path), 2)], chunksize=1)
        until(lambda: len(marks(tmp_path)) == 2, "two items' beginning")
        assert repr(pool) == f"<Pool 3 processes, 2 busy, 1.2k items done, {start_method}>"
        (tmp_path / "go").touch()
        later.get(TIME_LIMIT)
    assert "closed: it was terminated, 1.2k items done" in repr(pool)
    with ThreadPool(2) as threads:
        assert repr(threads) == "<ThreadPool 2 threads, 0 busy, 0 items done>"


# --- bars -----------------------------------------------------------------------------------------


class Terminal:
    """A script whose stderr, or all of it, is a terminal."""

    def __init__(self, folder: Path, text: str) -> None:
        script = folder / "script.py"
        script.write_text(textwrap.dedent(text), encoding="utf-8")
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        environ = environment()
        environ.pop("PYTHONUNBUFFERED", None)
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=folder,
            env=environ | {"TERM": "xterm"},
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def read(self) -> str:
        """Return what is shown up to the end of the script."""
        deadline = time.monotonic() + TIME_LIMIT
        while select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            self.shown += ESCAPES.sub("", data.decode(errors="replace"))
        return self.shown

    def end(self) -> tuple[str, str, int]:
        """Return what is shown, what is printed, and the exit code."""
        try:
            shown = self.read()
            printed, _ = self.process.communicate(timeout=TIME_LIMIT)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._ours)
        return shown, printed.decode(), self.process.returncode


def lines(shown: str) -> list[str]:
    """Return the lines that are left on the screen, each as it was drawn last."""
    return [line.rpartition("\r")[2].rstrip() for line in shown.replace("\r\n", "\n").split("\n")]


def test_a_bar_in_a_terminal(tmp_path: Path) -> None:
    script = """
        import threading
        from pmap import papply, pmap

        def inner(x):
            return pmap(abs, [x], progress=True)  # of which nothing is seen

        def fails(x):
            return 1 / x

        def work(x):
            return -x

        def numbers():
            yield from range(3)

        verb = pmap.using(processes=2, progress=True)
        print(verb(work, range(5)), threading.active_count())
        verb(inner, [1], progress="a label")
        verb.collecting(fails, [1, 0, 0], retries=1, retry_on=ZeroDivisionError)
        list(verb.iter(work, numbers(), progress="a stream"))
        verb.async_(work, range(3), progress="later").get()
        papply.using(progress="one")(work, 1)
        list(verb.iter_unordered(work, [1, 2]))
        verb(work, [])
        try:
            verb(fails, [1, 0], chunksize=1)
        except ZeroDivisionError:
            print("failed")
        import sys
        print("mon", any("onitor" in type(t).__name__ for t in threading.enumerate()))
    """
    shown, printed, code = Terminal(tmp_path, script).end()
    assert (printed.splitlines()[0][:19], code) == ("[0, -1, -2, -3, -4]", 0)
    assert printed.splitlines()[1:] == ["failed", "mon False"]
    bars = lines(shown)
    assert bars.pop() == ""
    starts = [
        "work: 100%|",
        "a label: 100%|",
        "fails: 100%|",
        "a stream: 100%|",
        "later: 100%|",
        "one: 100%|",
        "work: 100%|",
        "fails: ",
    ]
    assert len(bars) == len(starts), bars
    for bar, start in zip(bars, starts, strict=True):
        assert bar.startswith(start), bars
    assert "| 5/5 [" in bars[0]
    assert bars[2].endswith("2 failed, 2 retried]")
    assert "| 3/3 [" in bars[3]
    assert bars[7].endswith("1 failed]")


def test_lines_that_items_print_stand_above_the_bar(tmp_path: Path) -> None:
    script = """
        import sys
        from pmap import pmap

        def work(x):
            print("item", x, file=sys.stderr)
            return x

        pmap(work, range(3), processes=1, chunksize=1, progress=True)
    """
    shown, _, code = Terminal(tmp_path, script).end()
    *printed, bar, end = lines(shown)
    assert (printed, code, end) == (["item 0", "item 1", "item 2"], 0, "")
    assert bar.startswith("work: 100%|")


def test_a_bar_is_closed_where_a_call_is_interrupted(tmp_path: Path) -> None:
    script = """
        import os, signal, time
        from pmap import pmap
        caller = os.getpid()

        def work(x):
            if x == 1:
                os.kill(caller, signal.SIGINT)
                time.sleep(600)
            return x

        signal.signal(signal.SIGINT, signal.default_int_handler)
        pmap(work, range(4), processes=1, chunksize=1, progress=True)
    """
    shown, _, _ = Terminal(tmp_path, script).end()
    screen = lines(shown)
    assert re.match(r"work: +\d+%\|.*\| [01]/4 \[", screen[0]), screen
    assert screen[1] == "Traceback (most recent call last):"
    assert screen[-2] == "KeyboardInterrupt"
    assert len([line for line in screen if "work:" in line and "%|" in line]) == 1


def test_a_fork_of_the_caller_leaves_the_bar_alone(tmp_path: Path) -> None:
    script = """
        import os, sys, gc, warnings
        from pmap import pmap
        warnings.simplefilter("ignore")  # of forking with threads: just that is meant here
        def work(path):
            while not os.path.exists(path):
                pass
            return path
        later = pmap.async_(work, ["go"], progress=True)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            sys.stderr = open("child", "w")
            del later
            gc.collect()
            sys.exit(0)
        os.waitpid(pid, 0)
        open("go", "w").close()
        later.get()
    """
    shown, _, code = Terminal(tmp_path, script).end()
    assert code == 0
    drawn = [text for text in re.split(r"[\r\n]+", shown) if text.strip()]
    # By the parent: at the beginning and, once or twice, at the end.
    assert len(drawn) in (2, 3), drawn
    assert "0/1" in drawn[0]
    assert all("1/1" in text for text in drawn[1:])
    assert (tmp_path / "child").read_text() == ""


SILENT: Final = """
import sys
from pmap import pmap
told = []
print(pmap(abs, [-1], progress=True), pmap(abs, [-2], progress="label"), "tqdm" in sys.modules)
print(pmap(abs, [-3], progress=told.append), told[-1].finished)
"""


def test_a_pipe_is_shown_nothing_and_tqdm_is_not_imported(tmp_path: Path) -> None:
    done = finished(["-c", SILENT], tmp_path)
    assert (done.stderr, done.stdout) == ("", "[1] [2] False\n[3] True\n")


MISSING: Final = """
import sys
sys.modules["tqdm"] = None
from pmap import pmap
for show in (True, "label"):
    try:
        pmap(abs, [1], progress=show)
    except ValueError as error:
        print(type(error).__name__, error)
print(any(name.startswith("pmap._backends") for name in sys.modules))
print(pmap(abs, [-1], progress=False))
"""


def test_without_tqdm_the_error_says_how_to_get_it_before_anything_starts(tmp_path: Path) -> None:
    done = finished(["-c", MISSING], tmp_path)
    assert done.stderr == ""
    first, second, started, result = done.stdout.splitlines()
    for line in (first, second):
        assert "pip install 'typed-pmap[progress]'" in line
        assert line.startswith("OptionError progress=")
    assert (started, result) == ("False", "[1]")


def test_ctrl_c_in_the_function_ends_the_call(tmp_path: Path) -> None:
    def tell(event: Progress) -> None:
        if not event.finished:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pmap(gate, [str(tmp_path)], [1], processes=1, progress=tell)
    assert pmap(abs, [-1], processes=1) == [1]
