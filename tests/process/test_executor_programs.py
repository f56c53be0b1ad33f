"""Programs with an `Executor`: without a guard, at their end, and ended by Ctrl-C."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.backends import START_METHODS
from tests.limits import TIME_LIMIT, until
from tests.scripts import environment, run_script

each_method = pytest.mark.parametrize("method", START_METHODS)

AT_THE_END = """
import atexit, os, time
from pmap import Executor

@atexit.register
def last():
    try:
        executor.submit(abs, 1)
    except RuntimeError as error:
        print(error)

def slow(x):
    while not os.path.exists({end!r}):
        time.sleep(0.01)
    if x == 2:
        raise ValueError(x)
    return x

executor = Executor(1, start_method={method!r})
for n in range(3):
    executor.submit(slow, n).add_done_callback(
        lambda one: print(one.exception() or one.result())
    )
other = Executor(1, start_method={method!r})
other.submit(slow, 9)
other.shutdown(wait=False)
print("end")
open({end!r}, "w").close()
"""


@each_method
def test_what_was_submitted_is_finished_at_the_end(method: str, tmp_path: Path) -> None:
    printed = run_script(tmp_path, AT_THE_END.format(method=method, end=str(tmp_path / "end")))
    assert printed == [
        "end",
        *"012",
        "cannot schedule new futures after interpreter shutdown",
    ]


UNGUARDED = """
import os, sys
from pmap import Executor

LIMIT = 3
def work(x):
    return x + LIMIT

def begin(limit):
    global LIMIT
    LIMIT = limit

class Bad(Exception):
    pass

def fail(x):
    raise Bad(x)

with Executor(2, start_method={method!r}) as executor:
    print(executor.submit(work, 1).result(), [*executor.map(lambda x: work(x) * 2, [1, 2])])
    try:
        executor.submit(fail, 4).result()
    except Bad as error:
        print("Bad", error.args)
    print(type(executor.submit(os._exit, 1).exception()).__mro__[1].__name__)
with Executor(1, initializer=begin, initargs=(10,), start_method={method!r}) as executor:
    print(executor.submit(work, 1).result())
"""


@each_method
def test_a_script_needs_no_guard(method: str, tmp_path: Path) -> None:
    printed = run_script(tmp_path, UNGUARDED.format(method=method))
    assert printed == ["4 [8, 10]", "Bad (4,)", "WorkerLost", "11"]


CTRL_C = """
import pathlib, time
from pmap import Executor

def slow(x):
    pathlib.Path(f"begun{{x}}").touch()
    time.sleep(1000)

{body}
"""
BODIES = {
    "a block": """
with Executor(1) as executor:
    later = [executor.submit(slow, n) for n in range(3)]
    later[0].result()
""",
    "a map": """
with Executor(1) as executor:
    print(list(executor.map(slow, range(3))))
""",
    "no block": """
executor = Executor(1)
later = [executor.submit(slow, n) for n in range(3)]
later[0].result()
""",
}


@pytest.mark.parametrize("body", BODIES)
def test_ctrl_c_ends_it(body: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CTRL_C.format(body=BODIES[body]))
    program = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    until((tmp_path / "begun0").exists)
    program.send_signal(signal.SIGINT)
    _, told = program.communicate(timeout=TIME_LIMIT)
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert told.count("Traceback") == 1
    assert program.returncode == -signal.SIGINT
    assert not (tmp_path / "begun1").exists()
