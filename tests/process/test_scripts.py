"""Whole programs: without a guard, started in every way, in places where maps are not expected.

Each must print what it should, say nothing on stderr, end in time, and leave nothing, with every
start method.
"""

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.limits import TIME_LIMIT, until
from tests.processes import descendants

from pmap._backends import boot as _boot

if TYPE_CHECKING:
    from pmap._types import StartMethod

PREAMBLE: Final = """\
import os, sys, threading
from pmap import pmap, pstarmap, papply, Pool, ControlFlowError, PoolClosedError
pmap = pmap.using(processes=2, start_method={method!r})
pstarmap = pstarmap.using(processes=2, start_method={method!r})
papply = papply.using(processes=2, start_method={method!r})
"""


def program(method: str, body: str) -> str:
    """Return a program that has the verbs with a start method."""
    return PREAMBLE.format(method=method) + textwrap.dedent(body)


def environment() -> dict[str, str]:
    """Return an environment in which the library is found and warnings are errors to look at."""
    path = os.pathsep.join(dict.fromkeys(p for p in sys.path if p))
    return os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": ""}


def finished(
    arguments: list[str],
    folder: Path,
    stdin: str | None = None,
    limit: float = TIME_LIMIT,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run a program, with `more` in its environment; return what came of it."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | more,
        timeout=limit,
        check=False,
        start_new_session=True,
    )


def run(
    arguments: list[str],
    folder: Path,
    stdin: str | None = None,
    code: int = 0,
    limit: float = TIME_LIMIT,
) -> str:
    """Run a program; return what it printed, once its stderr is seen to be empty."""
    done = finished(arguments, folder, stdin, limit)
    assert done.stderr == ""
    assert done.returncode == code
    return done.stdout


def run_script(folder: Path, text: str, code: int = 0) -> list[str]:
    """Run a script from a file; return the lines that it printed."""
    script = folder / "script.py"
    script.write_text(text, encoding="utf-8")
    return run([str(script)], folder, code=code).splitlines()


# --- ways to start -----------------------------------------------------------------------------

UNGUARDED: Final = """
    import os
    from dataclasses import dataclass
    from functools import partial

    print("once", flush=True)

    @dataclass(frozen=True)
    class Point:
        x: int
        def scaled(self, by):
            return Point(self.x * by)

    class Adder:
        def __init__(self, n):
            self.n = n
        def add(self, x):
            return self.n + x
        def __call__(self, x):
            return self.n - x

    def square(x):
        return x * x

    def outer(n):
        def inner(x):
            return helper(x) + n
        return inner

    def helper(x):
        return 10 * x

    print(pmap(square, range(4)))
    print(pmap(lambda x: x + 1, range(4)))
    print(pmap(outer(3), range(4)))
    print(pmap(partial(pow, 2), range(4)))
    print(pmap(partial(lambda a, b: a - b, b=1), range(4)))
    print(pmap(Adder(5).add, range(4)))
    print(pmap(Adder(5), range(4)))
    points = pmap(Point, range(3))
    print(points, all(type(p) is Point for p in points), points[0] == Point(0))
    moved = pmap(Point.scaled, points, [2, 3, 4])
    print([p.x for p in moved], all(isinstance(p, Point) for p in moved))
    print(pstarmap(lambda x, y: (y, x), zip("ab", "cd")))
    print(papply(lambda *, key: key, key=Point(7)) == Point(7))
    print(all(pid != os.getpid() for pid in pmap(lambda _: os.getpid(), range(3))))
    class Mine(Exception):
        def __init__(self, a, b):
            super().__init__(a)
            self.b = b
    def fail(x):
        raise Mine(x, "b")
    try:
        pmap(fail, [1])
    except Mine as error:
        print("caught", error.args, error.b)
"""
EXPECTED: Final = """\
once
[0, 1, 4, 9]
[1, 2, 3, 4]
[3, 13, 23, 33]
[1, 2, 4, 8]
[-1, 0, 1, 2]
[5, 6, 7, 8]
[5, 4, 3, 2]
[Point(x=0), Point(x=1), Point(x=2)] True True
[0, 3, 8] True
[('c', 'a'), ('d', 'b')]
True
True
caught (1,) b
"""


def test_as_a_file(start_method: "StartMethod", tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program(start_method, UNGUARDED), encoding="utf-8")
    assert run(["script.py"], tmp_path) == EXPECTED


def test_from_stdin(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run(["-"], tmp_path, stdin=program(start_method, UNGUARDED)) == EXPECTED


def test_from_the_command_line(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run(["-c", program(start_method, UNGUARDED)], tmp_path) == EXPECTED


def test_as_a_module(start_method: "StartMethod", tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "part.py").write_text(program(start_method, UNGUARDED), encoding="utf-8")
    assert run(["-m", "package.part"], tmp_path) == EXPECTED


def test_as_a_package(start_method: "StartMethod", tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "own.py").write_text("def third(x):\n    return x / 3\n", encoding="utf-8")
    text = program(start_method, UNGUARDED) + "from .own import third\nprint(pmap(third, [3]))\n"
    (package / "__main__.py").write_text(text, encoding="utf-8")
    assert run(["-m", "package"], tmp_path) == EXPECTED + "[1.0]\n"


def test_as_a_directory(start_method: "StartMethod", tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "beside.py").write_text("def third(x):\n    return x / 3\n", encoding="utf-8")
    text = program(start_method, UNGUARDED) + "import beside\nprint(pmap(beside.third, [3]))\n"
    (folder / "__main__.py").write_text(text, encoding="utf-8")
    assert run(["program"], tmp_path) == EXPECTED + "[1.0]\n"


def test_as_a_zip(start_method: "StartMethod", tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as file:
        file.writestr("beside.py", "def third(x):\n    return x / 3\n")
        file.writestr(
            "__main__.py",
            program(start_method, UNGUARDED) + "import beside\nprint(pmap(beside.third, [3]))\n",
        )
    assert run(["program.zip"], tmp_path) == EXPECTED + "[1.0]\n"


# --- what may change between two calls ---------------------------------------------------------

CHANGES: Final = """
    import contextvars
    level = 1
    def f(x):
        return x + level
    print(pmap(f, [0]))
    level = 2
    print(pmap(f, [0]))
    def f(x):
        return -x
    print(pmap(f, [5]))
    class C:
        tag = "old"
    make = lambda _: C()
    first = pmap(make, [0])[0]
    print(type(first) is C, first.tag)
    class C:
        tag = "new"
    second = pmap(make, [0])[0]
    print(type(second) is C, second.tag)
    os.mkdir("below")
    os.chdir("below")
    os.environ["PMAP_TEST"] = "here"
    sys.path.insert(0, os.getcwd())
    open("late.py", "w").write("def half(x): return x / 2\\n")
    import late
    print(pmap(late.half, [3]), pmap(lambda _: os.path.basename(os.getcwd()), [0]))
    print(pmap(lambda _: os.environ.get("PMAP_TEST"), [0]))
    del os.environ["PMAP_TEST"]
    print(pmap(lambda _: os.environ.get("PMAP_TEST"), [0]))
    var = contextvars.ContextVar("var", default="default")
    print(pmap(lambda _: var.get(), [0]))
    var.set("set")
    print(pmap(lambda _: var.get(), [0]))
    def count(x):
        global level
        level += 1
        return level
    print(pmap(count, [0]), level)
"""


def test_changes_between_calls(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, program(start_method, CHANGES)) == [
        "[1]",
        "[2]",
        "[-5]",
        "True old",
        "True new",
        "[1.5] ['below']",
        "['here']",
        "[None]",
        "['default']",
        "['set']",
        "[3] 2",
    ]


# --- the end of the program --------------------------------------------------------------------


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
    assert lines.count("ZeroDivisionError: division by zero") == 2  # the worker's, and ours
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
    "number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)


def kill_the_caller(folder: Path, text: str, number: signal.Signals) -> None:
    """Run a program until its workers are up, kill it, and see them end."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    below: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until((folder / "ready").exists, "the workers' being ready")
            below = descendants(process.pid)
            assert len(below) >= 2
            process.send_signal(number)
            assert process.wait(TIME_LIMIT) == -number
            until(lambda: not any(map(lives, below)), "the end of all workers")
        finally:
            process.kill()
            for pid in filter(lives, below):
                os.kill(pid, signal.SIGKILL)


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


def lives(pid: int) -> bool:
    """Return whether a process has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


# --- unusual places ----------------------------------------------------------------------------


def test_at_import_time(start_method: "StartMethod", tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(
        program(start_method, "def f(x):\n    return x + 1\nresult = pmap(f, range(3))\n"),
        encoding="utf-8",
    )
    assert run_script(tmp_path, "import early\nprint(early.result)\n") == ["[1, 2, 3]"]


def test_at_import_time_in_two_threads(start_method: "StartMethod", tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(
        program(start_method, "result = pmap(lambda x: x + 1, range(3))\n"), encoding="utf-8"
    )
    body = """
        import threading
        results = []
        def load():
            import early
            results.append(early.result)
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(results)
    """
    assert run_script(tmp_path, textwrap.dedent(body)) == ["[[1, 2, 3], [1, 2, 3]]"]


PLACES: Final = {
    "thread": (
        """
        out = []
        thread = threading.Thread(target=lambda: out.append(pmap(lambda x: x * 2, range(3))))
        thread.start()
        thread.join()
        print(out)
        """,
        ["[[0, 2, 4]]"],
    ),
    "daemon thread left behind": (
        """
        import time
        def wait(x):
            open("began", "a").close()
            time.sleep(600)
        threading.Thread(target=pmap, args=(wait, range(4)), daemon=True).start()
        while not os.path.exists("began"):
            time.sleep(0.001)
        print("leaving")
        """,
        ["leaving"],
    ),
    "event loop": (
        """
        import asyncio
        async def main():
            print(pmap(lambda x: x * 2, range(3)))
            print(await pmap.async_(lambda x: x * 3, range(3)))
            print(await asyncio.gather(*[wait(papply.async_(pow, 2, n)) for n in range(4)]))
            print(await asyncio.to_thread(pmap, abs, [-1]))
        async def wait(later):
            return await later
        asyncio.run(main())
        """,
        ["[0, 2, 4]", "[0, 3, 6]", "[1, 2, 4, 8]", "[1]"],
    ),
    "atexit": (
        """
        import atexit
        def late():
            print(pmap(lambda x: x * 2, range(3)))
            print(papply.async_(pow, 2, 3).get())
        atexit.register(late)
        print(pmap(abs, [-1]))
        """,
        ["[1]", "[0, 2, 4]", "8"],
    ),
    "atexit, nothing before": (
        """
        import atexit
        atexit.register(lambda: print(pmap(lambda x: x * 2, range(3))))
        """,
        ["[0, 2, 4]"],
    ),
    "daemonic process": (
        """
        import multiprocessing
        def inside():
            print(pmap(lambda x: x * 2, range(3)), flush=True)
        process = multiprocessing.get_context("fork").Process(target=inside, daemon=True)
        process.start()
        process.join()
        print(process.exitcode)
        """,
        ["[0, 2, 4]", "0"],
    ),
    "signal handler": (
        """
        import signal
        def handler(number, frame):
            print(pmap(lambda x: x * 2, range(3)))
            print(pmap.async_(abs, [-1]).get())
        signal.signal(signal.SIGUSR1, handler)
        os.kill(os.getpid(), signal.SIGUSR1)
        print(pmap(abs, [-2]))
        """,
        ["[0, 2, 4]", "[1]", "[2]"],
    ),
    "signal handler during a map": (
        """
        import signal, time
        def handler(number, frame):
            print(pmap(lambda x: x * 2, range(3)), flush=True)
            open("go", "x").close()
        signal.signal(signal.SIGUSR1, handler)
        parent = os.getpid()
        def item(x):
            if x == 0:
                os.kill(parent, signal.SIGUSR1)
            while not os.path.exists("go"):
                time.sleep(0.001)
            return x
        # One worker is held until the handler is through; its own map runs on the other.
        print(pmap(item, range(1)))
        """,
        ["[0, 2, 4]", "[0]"],
    ),
    "__del__": (
        """
        class Thing:
            def __del__(self):
                print(pmap(lambda x: x * 2, range(3)))
        thing = Thing()
        del thing
        loop = Thing()
        loop.me = loop
        del loop
        import gc
        print(bool(gc.collect()))
        """,
        ["[0, 2, 4]", "[0, 2, 4]", "True"],
    ),
    "__reduce__": (
        """
        class Thing:
            def __init__(self, value):
                self.value = value
            def __reduce__(self):
                return Thing, (sum(pmap(lambda x: x * 2, range(3))) + self.value,)
        def value(thing):
            return thing.value
        print(pmap(value, [Thing(1), Thing(2)]))
        """,
        ["[7, 8]"],
    ),
    "the input's iterator": (
        """
        def inputs():
            for x in range(3):
                yield sum(pmap(lambda y: y + x, range(3)))
        print(pmap(lambda x: -x, inputs()))
        """,
        ["[-3, -6, -9]"],
    ),
    "a callback": (
        """
        import multiprocessing
        with Pool(1, context=multiprocessing.get_context({method!r})) as pool:
            out = []
            later = pool.apply_async(
                abs, (-1,), callback=lambda value: out.append((value, pool.map(abs, [-2])))
            )
            later.wait()
            print(out)
        """,
        ["[(1, [2])]"],
    ),
    "a held lock": (
        """
        import logging, time
        # Locks of the logging module and of the buffers of stdout are held by another thread.
        handler = logging.StreamHandler(sys.stdout)
        logging.getLogger().addHandler(handler)
        held, done = threading.Event(), threading.Event()
        def hold():
            handler.acquire()
            held.set()
            done.wait()
            handler.release()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        def item(x):
            return x * 2
        print(pmap(item, range(3)))
        done.set()
        thread.join()
        """,
        ["[0, 2, 4]"],
    ),
    "nested": (
        """
        from pmap import pmap as inner, papply as inner_apply
        def item(x):
            with Pool(2) as pool:
                a = pool.map(lambda y: y + x, range(3))
            return a, inner(lambda y: y * x, range(3)), inner_apply(pow, 2, x)
        print(pmap(item, [1, 2]))
        """,
        ["[([1, 2, 3], [0, 1, 2], 2), ([2, 3, 4], [0, 2, 4], 4)]"],
    ),
    "a process in an item": (
        """
        import subprocess
        def item(x):
            return subprocess.run(["echo", str(x)], capture_output=True, text=True).stdout.strip()
        print(pmap(item, range(3)))
        """,
        ["['0', '1', '2']"],
    ),
    "printing items": (
        """
        print("before")
        pmap(lambda x: print("item", x, flush=True), [1])
        print("after")
        """,
        ["before", "item 1", "after"],
    ),
    "closed standard streams": (
        """
        os.close(0)
        sys.stdin = None
        print(pmap(lambda x: x * 2, range(3)))
        """,
        ["[0, 2, 4]"],
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_unusual_places(start_method: "StartMethod", place: str, tmp_path: Path) -> None:
    if (place, start_method, sys.version_info[:2]) == ("atexit, nothing before", "fork", (3, 12)):
        pytest.xfail("Python 3.12 refuses to fork in an atexit function: a clear error, no answer")
    body, expected = PLACES[place]
    if place == "printing items":
        body = body.replace('print("before")', 'print("before", flush=True)')
    text = program(start_method, body.replace("{method!r}", repr(start_method)))
    assert run_script(tmp_path, text) == expected


# --- forks of the caller -----------------------------------------------------------------------


def test_fork_with_a_warm_pool(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
        import warnings
        warnings.simplefilter("ignore")  # of forking with threads: just that is meant here
        print(pmap(lambda x: x * 2, range(3)), flush=True)
        before = set(pmap(lambda _: os.getpid(), range(20)))
        later = pmap.async_(abs, [-1])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert pmap(lambda x: x * 3, range(3)) == [0, 3, 6]
                mine = set(pmap(lambda _: os.getpid(), range(20)))
                assert not mine & before
                try:
                    later.get()
                except PoolClosedError:
                    pass
                code = 0
            finally:
                sys.stdout.flush()
                if code:
                    import traceback
                    traceback.print_exc()
                sys.exit(code) if len(sys.argv) > 1 else os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        print(later.get(), pmap(lambda x: x * 4, range(3)))
    """
    assert run_script(tmp_path, program(start_method, body)) == [
        "[0, 2, 4]",
        "0",
        "[1] [0, 4, 8]",
    ]


def test_fork_during_a_map(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
        import time, warnings
        warnings.simplefilter("ignore")
        def item(x):
            open(f"began{x}", "x").close()
            while not os.path.exists("go"):
                time.sleep(0.001)
            return x
        later = pmap.async_(item, range(4), chunksize=1)
        while not os.path.exists("began0"):
            time.sleep(0.001)
        child = os.fork()
        if child == 0:
            sys.exit(pmap(abs, [-7])[0])  # an ordinary end, with all atexit functions
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        open("go", "x").close()
        print(later.get(), pmap(abs, [-1]))
    """
    assert run_script(tmp_path, program(start_method, body)) == ["7", "[0, 1, 2, 3] [1]"]


AT_THE_START_OF_A_CHILD: Final = """
import multiprocessing, sys
from pmap import pmap
print(pmap(abs, [-1], processes=1))
def child():
    print("never")
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_a_child_that_imports_a_script_without_a_guard_starts_no_workers(tmp_path: Path) -> None:
    # Else each worker of such a child could have such children, without end.
    script = tmp_path / "script.py"
    script.write_text(AT_THE_START_OF_A_CHILD, encoding="utf-8")
    done = finished([str(script)], tmp_path)
    assert done.stdout.splitlines() == ["[1]", "1"]
    assert 'Put what starts them behind if __name__ == "__main__":' in done.stderr
