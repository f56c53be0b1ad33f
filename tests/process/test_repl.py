"""The interactive interpreter, typed into through a pseudo-terminal as a person would."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.limits import TIME_LIMIT, seconds, until
from tests.processes import descendants, lives
from tests.scripts import environment

if TYPE_CHECKING:
    from pmap._types import StartMethod

PROMPT: Final = ">>> "
ESCAPES: Final = re.compile(r"\x1b(\[[0-9;?<>=]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78])")


class Repl:
    """An interpreter at the other end of a terminal."""

    def __init__(self, folder: Path, basic: bool) -> None:
        # Before Python 3.13, and without a prompt of its own, it forgets what was typed.
        self.keeps_source: Final = not basic or sys.version_info >= (3, 13)
        self.basic = basic
        self._ours, theirs = pty.openpty()
        extra = {"TERM": "xterm" if not basic else "dumb", "PAGER": "cat", "NO_COLOR": "1"}
        if basic:
            extra["PYTHON_BASIC_REPL"] = "1"
        self.process = subprocess.Popen(
            [sys.executable, "-i", "-q"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment() | extra,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._text = ""
        self.read()

    def send(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def read(self, limit: float = TIME_LIMIT) -> str:
        """Return what is shown up to the next prompt."""
        return self.read_to(PROMPT, limit)

    def interrupt(self) -> None:
        """Press Ctrl-C at the prompt; return when a KeyboardInterrupt is shown, at a prompt again.

        Between showing a prompt and waiting for a key the interpreter misses the signal, and shows
        nothing before the next key: then it is pressed again. It may draw the prompt once more
        before it shows the error.
        """
        for _ in range(10):
            self.send("\x03")
            if self._shown("KeyboardInterrupt", limit=seconds(3)) is not None:
                break
        else:
            raise AssertionError("Ctrl-C shows nothing")
        # What an earlier one shows late comes before this.
        self.send("'at the' + ' prompt'\n")
        self.read_to("'at the prompt'")
        self.read()

    def read_to(self, text: str, limit: float = TIME_LIMIT) -> str:
        """Return what is shown up to `text`, where prompts may be part of it."""
        shown = self._shown(text, limit)
        if shown is None:
            raise AssertionError(f"no {text!r} after {limit} s, only: {self._stacks()}")
        return shown

    def _shown(self, text: str, limit: float) -> str | None:
        """Return what is shown up to `text`, or None if it does not come in time."""
        deadline = time.monotonic() + limit
        while text not in self._text:
            left = deadline - time.monotonic()
            if left <= 0 or not self._more(left):
                return None
        shown, _, self._text = self._text.partition(text)
        return shown

    def _stacks(self) -> str:
        """Return what was shown, and where every thread is: faulthandler is on. It ends it all."""
        self.process.send_signal(signal.SIGABRT)
        while self._more(seconds(3)):
            pass
        return self._text

    def _more(self, left: float) -> bool:
        if not select.select([self._ours], [], [], left)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self._text += ESCAPES.sub("", data.decode(errors="replace")).replace("\r", "")
        return bool(data)

    def type(self, line: str, limit: float = TIME_LIMIT) -> list[str]:
        """Type lines; return what is shown after them and before the next prompt."""
        self.send(line + "\n")
        shown = self.read(limit).splitlines()
        echoed = set(line.splitlines())
        return [
            text
            for text in (shown_line.removeprefix("... ") for shown_line in shown)
            if text.strip() and text not in echoed and text.strip() != "..."
        ]

    def close(self, code: int = 0) -> str:
        """Leave; return what is shown, once the interpreter is gone with the exit code `code`."""
        self.send("exit()\n")
        while self._more(TIME_LIMIT):
            pass
        assert self.process.wait(TIME_LIMIT) == code
        return self._text.replace("exit()", "").strip()

    def end(self) -> None:
        """Let go, whatever the state."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def code_after_ctrl_c(folder: Path, basic: bool) -> int:
    """Return the exit code of an interpreter without pmap that is left after a Ctrl-C.

    From Python 3.14 on the basic one ends as if by the signal, however long ago that was.
    """
    bare = Repl(folder, basic)
    try:
        bare.interrupt()
        bare.send("exit()\n")
        return bare.process.wait(TIME_LIMIT)
    finally:
        bare.end()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(params=["basic", "new"])
def repl(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repl]:
    """A running interpreter; the one with colours and history only where there is one."""
    if request.param == "new" and sys.version_info < (3, 13):
        pytest.skip("before Python 3.13 there is only the basic REPL")
    repl = Repl(tmp_path, basic=request.param == "basic")
    try:
        yield repl
    finally:
        repl.end()


def begin(repl: Repl, method: str) -> None:
    """Import the verb with a start method."""
    assert repl.type("from pmap import pmap as verb") == []
    assert repl.type(f"pmap = verb.using(start_method={method!r}, processes=2)") == []


def test_a_session(repl: Repl, start_method: "StartMethod") -> None:
    begin(repl, start_method)
    assert repl.type("def f(x): return x + 1\n") == []
    assert repl.type("pmap(f, range(3))") == ["[1, 2, 3]"]
    assert repl.type("def f(x): return x * 10\n") == []
    assert repl.type("pmap(f, range(3))") == ["[0, 10, 20]"]
    assert repl.type("def g(x): return 1 / x\n") == []
    assert repl.type("def h(x): return g(x)\n") == []
    shown = repl.type("pmap(h, [1, 0])")
    functions = [line.rpartition(" in ")[2] for line in shown if line.startswith("  File")]
    assert functions == ["<module>", "__call__", "h", "g"]
    if repl.keeps_source:
        lines = ["pmap(h, [1, 0])", "def h(x): return g(x)", "def g(x): return 1 / x"]
        assert [line for line in lines if f"    {line}" in shown] == lines
    assert sum("Traceback" in line for line in shown) == 1
    assert repl.type("level = 5") == []
    assert repl.type("pmap(lambda x: x + level, range(3))") == ["[5, 6, 7]"]
    assert repl.type("level = 6") == []
    assert repl.type("pmap(lambda x: x + level, range(3))") == ["[6, 7, 8]"]
    assert repl.type("class C: pass\n") == []
    assert repl.type("all(type(c) is C for c in pmap(lambda _: C(), range(3)))") == ["True"]
    assert repl.type("later = pmap.async_(f, range(3))") == []
    assert repl.type("later.get()") == ["[0, 10, 20]"]
    shown = repl.type("pmap(lambda x: 1 / x, [1, 0])")
    assert shown[-2:] == ["ZeroDivisionError: division by zero", "pmap: item 1, <lambda>(0)"]
    assert repl.type("pmap(f, range(3))") == ["[0, 10, 20]"]
    assert repl.close() == ""


def test_ctrl_c(repl: Repl, start_method: "StartMethod", tmp_path: Path) -> None:
    begin(repl, start_method)
    assert repl.type("import time, pathlib") == []
    assert (
        repl.type("def f(x): pathlib.Path(f'began{x}').touch(); time.sleep(600 if x else 0)\n")
        == []
    )
    assert repl.type("pmap(abs, range(3))") == ["[0, 1, 2]"]
    for attempt in range(2):
        for name in ("began1", "began2"):
            (tmp_path / name).unlink(missing_ok=True)
        repl.send("pmap(f, range(1, 5), chunksize=1)\n")
        until(
            lambda: (tmp_path / "began1").exists() and (tmp_path / "began2").exists(),
            "two items' beginning",
        )
        repl.send("\x03")
        shown = repl.read()  # at the prompt again
        assert shown.rstrip().endswith("KeyboardInterrupt"), attempt
        assert shown.count("KeyboardInterrupt") == 1
        assert shown.count("Traceback") == 1
        assert "RemoteTraceback" not in shown
        # The line of the call and the verb, and nothing of where pmap was waiting.
        assert len(re.findall(r"^  File ", shown, re.MULTILINE)) == 2
        assert repl.type("pmap(abs, range(3))") == ["[0, 1, 2]"]
    assert repl.close(code_after_ctrl_c(tmp_path, repl.basic)) == ""


def test_ctrl_c_at_the_prompt_leaves_the_workers_alone(
    repl: Repl, start_method: "StartMethod", tmp_path: Path
) -> None:
    begin(repl, start_method)
    assert repl.type("pmap(abs, range(3))") == ["[0, 1, 2]"]
    before = descendants(repl.process.pid)
    assert before
    repl.interrupt()
    # The signal went to the whole group of the terminal, and the workers are in it.
    assert repl.type("pmap(abs, range(3))") == ["[0, 1, 2]"]
    assert all(map(lives, before))
    assert repl.close(code_after_ctrl_c(tmp_path, repl.basic)) == ""


def test_leaving_with_work_under_way(
    repl: Repl, start_method: "StartMethod", tmp_path: Path
) -> None:
    begin(repl, start_method)
    assert repl.type("import time, pathlib") == []
    assert repl.type("def f(x): pathlib.Path('began').touch(); time.sleep(600)\n") == []
    assert repl.type("later = pmap.async_(f, range(4))") == []
    until((tmp_path / "began").exists, "the beginning")
    assert repl.type("later")[0].startswith("<AsyncResult pmap(f) 0/4 done>")
    below = descendants(repl.process.pid)
    assert repl.close() == ""
    until(lambda: not any(map(lives, below)), "the end of all workers")


def test_closing_the_terminal_ends_all(repl: Repl, start_method: "StartMethod") -> None:
    begin(repl, start_method)
    assert repl.type("pmap(abs, range(3))") == ["[0, 1, 2]"]
    below = descendants(repl.process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(repl.process.pid, signal.SIGHUP)
    until(lambda: not any(map(lives, below)), "the end of all workers")


def test_help(repl: Repl) -> None:
    assert repl.type("from pmap import pmap") == []
    repl.send("help(pmap)\n")
    # The help shows examples, with prompts, and on a terminal it prints bold letters twice.
    shown = re.sub(r".\x08", "", repl.read_to("Raises:"))
    assert re.search(r"\bpmap\(\s*f,\s*xs", shown)
    assert "chunksize" in shown
    repl.send("'the end of the' + ' help'\n")
    repl.read_to("'the end of the help'")
    repl.read()
    assert repl.close() == ""
