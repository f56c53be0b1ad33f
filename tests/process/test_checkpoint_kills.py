"""Checkpoints where processes die, or work at the same time."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Final

from tests.files import marks
from tests.limits import TIME_LIMIT, until
from tests.scripts import environment, finished

from pmap import Checkpoint

ITEMS: Final = 900
# Items that may be run again after a kill: those of the chunks that two workers hold, 20 ms each
# and one sent ahead; and what came in the moment before the kill.
IN_FLIGHT: Final = 120

RUN: Final = """
import sys
from pmap import pmap
from tests.files import mark
import time

def item(x):
    time.sleep(0.001)
    mark(sys.argv[1], x)
    return {"square": x * x}

verb = pmap.using(processes=2, checkpoint=sys.argv[2], start_method="forkserver")
first, last = int(sys.argv[4]), int(sys.argv[5])
xs = range(first, last)
form = {"map": verb, "stream": verb.iter, "async": lambda f, xs: verb.async_(f, xs).get()}
assert [*form[sys.argv[3]](item, xs)] == [{"square": x * x} for x in xs]
print("done")
"""


def begin(folder: Path, form: str, first: int = 0, last: int = ITEMS) -> "subprocess.Popen[bytes]":
    script = folder / "run.py"
    script.write_text(RUN)
    path = str(folder / "run.sqlite")
    arguments = [str(folder), path, form, str(first), str(last)]
    return subprocess.Popen(
        [sys.executable, str(script), *arguments], env=environment(), stdout=subprocess.PIPE
    )


def has_done(kept: Checkpoint, items: int) -> bool:
    return kept.done >= items


def has_done_or_ended(kept: Checkpoint, items: int, run: "subprocess.Popen[bytes]") -> bool:
    return has_done(kept, items) or run.poll() is not None


def test_what_finished_before_a_kill_does_not_run_again(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "run.sqlite")
    chance = random.Random(7)
    out = b""
    for form in ("map", "stream", "async", "map"):
        last = form == "map" and kept.done > 0
        known = {*kept.results()} if kept.done else set[int]()
        before = len(marks(tmp_path))
        run = begin(tmp_path, form)
        if not last:
            goal = kept.done + chance.randrange(50, 250)
            until(partial(has_done, kept, goal))
            run.send_signal(signal.SIGKILL)
        out, _ = run.communicate(timeout=TIME_LIMIT)
        ran = Counter(map(int, marks(tmp_path)[before:]))
        assert not known & ran.keys(), "what was in the file at the kill does not run again"
        assert {*ran.values()} <= {1}
    assert out == b"done\n"
    counts = Counter(map(int, marks(tmp_path)))
    assert counts.keys() == {*range(ITEMS)}
    assert sum(counts.values()) - ITEMS <= 3 * IN_FLIGHT
    assert kept.results() == {x: {"square": x * x} for x in range(ITEMS)}


def test_a_run_is_killed_again_and_again(tmp_path: Path) -> None:
    """In full with ``PMAP_KILL_ITEMS=20000``, which takes minutes."""
    items = int(os.environ.get("PMAP_KILL_ITEMS", "600"))
    kept = Checkpoint(tmp_path / "run.sqlite")
    chance = random.Random(11)
    most = twice = kills = 0
    out = b""
    while out != b"done\n":
        before = Counter(map(int, marks(tmp_path)))
        known = {*kept.results()} if kept.done else set[int]()
        goal = kept.done + chance.randrange(items // 40, items // 12)
        run = begin(tmp_path, "stream", 0, items)
        until(partial(has_done_or_ended, kept, goal, run))
        run.send_signal(signal.SIGKILL)
        kills += 1
        out, _ = run.communicate(timeout=TIME_LIMIT)
        ran = Counter(map(int, marks(tmp_path))) - before
        assert not known & ran.keys(), "what was in the file at the kill does not run again"
        again = sum(ran.values()) - len(ran.keys() - before.keys())
        most, twice = max(most, again), twice + again
    counts = Counter(map(int, marks(tmp_path)))
    assert counts.keys() == {*range(items)}
    assert kept.results() == {x: {"square": x * x} for x in range(items)}
    print(f"{items} items, {kills} runs: {twice} ran again, at most {most} after a kill")
    assert most <= IN_FLIGHT


def test_two_programs_at_once_compute_nothing_twice(tmp_path: Path) -> None:
    runs = [begin(tmp_path, "stream", 0, 400), begin(tmp_path, "map", 200, 600)]
    for run in runs:
        out, _ = run.communicate(timeout=TIME_LIMIT)
        assert out == b"done\n"
    assert Counter(map(int, marks(tmp_path))) == Counter(range(600))


def test_a_program_takes_over_from_one_that_was_killed(tmp_path: Path) -> None:
    first = begin(tmp_path, "map")
    kept = Checkpoint(tmp_path / "run.sqlite")
    until(lambda: kept.done >= 50)
    second = begin(tmp_path, "map")
    time.sleep(0.3)  # it waits for the first one by now, or else finds its claims when it begins
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, _ = second.communicate(timeout=TIME_LIMIT)
    assert out == b"done\n"
    ran = Counter(map(int, marks(tmp_path)))
    assert ran.keys() == {*range(ITEMS)}
    assert sum(ran.values()) - ITEMS <= IN_FLIGHT


def test_another_run_of_a_changed_script_finds_what_it_may(tmp_path: Path) -> None:
    """The order of sets differs between processes, a comment moves lines, and neither counts."""
    text = """
        from pmap import pmap
        NAMES = {"one", "two", "three"}
        class Point:
            def __init__(self, x): self.x = x
        def helper(x, known={"a", "b", "c"}): return len(NAMES) + len(known) + x
        def item(point): print("runs"); return helper(point.x["x"])
        items = [Point({"x": x, "of": {"p", "q", str(x)}}) for x in range(3)]
        print(pmap(item, items, checkpoint="run.sqlite", backend="serial"))
    """
    lines = [line.removeprefix(" " * 8) for line in text.splitlines()]

    def ran(*added: str, old: str = "", new: str = "", seed: str = "1") -> int:
        Path(tmp_path, "script.py").write_text(
            "\n".join([*added, *lines]).replace(old or "\0", new)
        )
        run = finished(["script.py"], tmp_path, PYTHONHASHSEED=seed)
        assert run.stderr == ""
        assert "[6, 7, 8]" in run.stdout or new
        return run.stdout.count("runs")

    assert ran() == 3
    assert ran(seed="2") == 0
    assert ran("# a comment", "import os", seed="3") == 0
    assert ran(old="+ x", new="- x") == 3
    assert ran(old='"three"', new='"four"') == 3
    assert ran(seed="4") == 0


def test_a_forked_child_leaves_the_file_alone(tmp_path: Path) -> None:
    script = tmp_path / "fork.py"
    script.write_text(
        "import os, time\n"
        "from pmap import pmap, Checkpoint\n"
        "later = pmap.async_(time.sleep, [0.3] * 4, checkpoint='run.sqlite', backend='threads')\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    pmap(abs, [-1], checkpoint='run.sqlite', backend='serial')\n"
        "    os._exit(0)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "later.get()\n"
        "print(Checkpoint('run.sqlite').done)\n"
    )
    run = finished(["-W", "ignore::DeprecationWarning", "fork.py"], tmp_path)
    assert (run.stdout, run.stderr) == ("5\n", "")
    assert not os.path.exists(tmp_path / "run.sqlite-wal")
