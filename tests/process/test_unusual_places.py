"""Maps where they are not expected: at import time, in hooks of the interpreter, behind forks."""

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import finished, program, run_script

if TYPE_CHECKING:
    from pmap._types import StartMethod


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
