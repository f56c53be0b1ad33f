"""The end of a program: with work that is pending, by a handler or a callback, by being killed.

What workers have of their caller is here as well: its options, and none of its descriptors.
"""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.limits import TIME_LIMIT
from tests.scripts import environment, kill_the_caller, program, run_script
from tests.signals import KILL

from pmap._backends import boot as _boot

if TYPE_CHECKING:
    from pmap._types import StartMethod


def test_exit_with_work_pending(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
        import time
        def wait(x):
            open(f"began{x}", "x").close()
            time.sleep(600)
        later = pmap.async_(wait, range(10))
        while not os.path.exists("began0"):
            time.sleep(0.001)
        print("leaving", flush=True)
        sys.exit(4)
    """
    assert run_script(tmp_path, program(start_method, body), code=4) == ["leaving"]


def test_exit_with_pools_and_handles_left_open(start_method: "StartMethod", tmp_path: Path) -> None:
    body = f"""
        import multiprocessing
        pool = Pool(2, context=multiprocessing.get_context({start_method!r}))
        result = pool.map_async(abs, range(100))
        print(result.get()[-1])
        iterator = pool.imap(abs, range(100))
        print(next(iterator))
    """
    assert run_script(tmp_path, program(start_method, body)) == ["99", "0"]


def test_unhandled_error_is_shown_once(start_method: "StartMethod", tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        program(start_method, "def f(x):\n    return 1 / x\npmap(f, [1, 0, 2])\n"), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=TIME_LIMIT,
        check=False,
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-2:] == ["ZeroDivisionError: division by zero", "pmap: item 1, f(0)"]
    assert lines.count("ZeroDivisionError: division by zero") == 1
    assert done.stderr.count("return 1 / x") == 1


INHERITED: Final = """
    import os
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    high = os.dup2(theirs, 40, inheritable=True)
    print(pmap(abs, [-1]))
    os.close(theirs)
    os.close(high)
    print(os.read(ours, 1))  # would wait for as long as anybody has the other end
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_have_no_descriptor_of_the_caller(method: str, tmp_path: Path) -> None:
    assert run_script(tmp_path, program(method, INHERITED)) == ["[1]", "b''"]


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2), (0, 3, 4, 5)])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_descriptors_that_a_program_begins_without(
    method: str, closed: tuple[int, ...], tmp_path: Path
) -> None:
    body = f"import os\nfor fd in {closed}:\n    try: os.close(fd)\n    except OSError: pass\n"
    body += "with open('result', 'w') as file: print(pmap(abs, [-1, -2]), file=file)\n"
    run_script(tmp_path, program(method, body))
    assert (tmp_path / "result").read_text(encoding="utf-8") == "[1, 2]\n"


@pytest.mark.parametrize(
    "flags",
    [
        *(["-B"], ["-O"], ["-s"], ["-E"], ["-I"], ["-q"], ["-b"], ["-P"], ["-X", "dev"]),
        *(["-W", "error"], ["-X", "utf8=0", "-X", "faulthandler"], ["-v"], ["-d"], ["-S"], []),
    ],
    ids=" ".join,
)
def test_workers_have_the_options_of_the_interpreter(flags: list[str], tmp_path: Path) -> None:
    root = str(Path(_boot.__file__).parents[2])
    text = f"import sys\nsys.path.insert(0, {root!r})\nimport pmap._backends.boot, subprocess\n"
    # -P they have in any case.
    text += "asked = [f for f in subprocess._args_from_interpreter_flags() if f != '-P']\n"
    text += "print([f for f in pmap._backends.boot.interpreter_flags() if f != '-P'] == asked)\n"
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *flags, "script.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=TIME_LIMIT,
        check=False,
    )
    ours = [flag for flag in done.stdout.splitlines() if flag in ("True", "False")]
    assert ours == ["True"], done.stderr


HANDLER: Final = """
    import signal, time
    def handler(*_):
        # What the main thread waits for ends meanwhile, and this takes it in.
        print({inner})
    def touch(seconds):
        time.sleep(seconds)
        return seconds
    outer = papply.using(start_method={method!r}, processes=3)
    pmap.using(start_method={method!r}, processes=3)(touch, [0.05] * 3, chunksize=1)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    print(outer(touch, 0.3))
"""


@pytest.mark.parametrize(
    "inner",
    ["outer(touch, 0.5)", "outer.async_(touch, 0.5).get()", "[*pmap.iter(touch, [0.5])][0]"],
)
def test_a_handler_that_calls_while_the_main_thread_waits(
    start_method: "StartMethod", inner: str, tmp_path: Path
) -> None:
    body = HANDLER.format(inner=inner, method=start_method)
    text = f"from pmap import papply, pmap as verb\npmap = verb.using(start_method={start_method!r}"
    text += ", processes=3)\n" + textwrap.dedent(body)
    assert run_script(tmp_path, text) == ["0.5", "0.3"]


ENDING: Final = """
    import multiprocessing, os, signal, time
    from pmap import Pool
    caller = os.getpid()
    def handler(*_):
        pool.{end}()
        open("ended", "x").close()
    def touch(number):
        if number == 5:
            os.kill(caller, signal.SIGALRM)
        while number >= 5 and not os.path.exists("ended"):
            time.sleep(0.001)
        return number
    pool = Pool(2, context=multiprocessing.get_context({method!r}))
    pool.map(touch, [1, 2])
    signal.signal(signal.SIGALRM, handler)
    try:
        print(sum(pool.map(touch, range(20), chunksize=1)))
    except pmap.CancelledError:
        print("cancelled")
    pool.close()
    pool.join()
    print(pool._driver.backend.is_open)
"""


@pytest.mark.parametrize(("end", "shown"), [("close", "190"), ("terminate", "cancelled")])
def test_a_handler_that_ends_the_pool_that_the_main_thread_waits_for(
    start_method: "StartMethod", end: str, shown: str, tmp_path: Path
) -> None:
    # It must not close what the main thread polls just then.
    text = "import pmap\n" + textwrap.dedent(ENDING.format(end=end, method=start_method))
    assert run_script(tmp_path, text) == [shown, "False"]


CALLBACK: Final = """
    def called(_):
        start = pool.apply_async
        print({wait}, *pool.imap(abs, [-4]))
    with Pool(2, context=multiprocessing.get_context({method!r})) as pool:
        first = pool.apply_async(abs, (-1,), callback=called)
        print(pool.map(time.sleep, [0.2, 0.3]), first.get())
"""


@pytest.mark.parametrize(
    "wait",
    [
        "start(abs, (-3,)).get()",
        "start(abs, (-3,)).wait() or 3",
        "start(abs, (-2,)).then(lambda two: two + 1).get()",
        "start(abs, (-3,)).future().result()",
        "start(abs, (-3,)).future().exception() or 3",
        "sum(gather(start(abs, (-1,)), start(abs, (-2,))).get())",
        "sum(one.get() for one in as_completed([start(abs, (-1,)), start(abs, (-2,))]))",
        "sum(gather(start(time.sleep, (0.1,)).then(lambda _: 1), start(abs, (-2,))).get())",
    ],
)
def test_a_callback_that_waits_for_its_own_pool(
    start_method: "StartMethod", wait: str, tmp_path: Path
) -> None:
    text = "import multiprocessing, time\nfrom pmap import Pool, as_completed, gather\n"
    text += textwrap.dedent(CALLBACK.format(method=start_method, wait=wait))
    assert run_script(tmp_path, text) == ["3 4", "[None, None] 1"]


IDLE: Final = """
    import time
    def pause(x):
        open(f"began{x}", "x").close()
        while not (os.path.exists("began0") and os.path.exists("began1")):
            time.sleep(0.001)
    pmap(pause, range(2), chunksize=1)
    open("ready", "x").close()
    time.sleep(600)
"""
BUSY: Final = """
    import time
    def work(x):
        open(f"began{x}", "x").close()
        while not (os.path.exists("began0") and os.path.exists("began1")):
            time.sleep(0.001)
        open("ready", "a").close()
        time.sleep(600)
    pmap.async_(work, range(2), chunksize=1).get()
"""
KILLED: Final = pytest.mark.parametrize(
    "number", sorted({signal.SIGTERM, KILL}), ids=lambda number: number.name
)


@KILLED
def test_idle_workers_do_not_outlive_their_caller(
    start_method: "StartMethod", number: signal.Signals, tmp_path: Path
) -> None:
    kill_the_caller(tmp_path, program(start_method, IDLE), number)


@KILLED
def test_busy_workers_do_not_outlive_their_caller(
    start_method: "StartMethod", number: signal.Signals, tmp_path: Path
) -> None:
    kill_the_caller(tmp_path, program(start_method, BUSY), number)
