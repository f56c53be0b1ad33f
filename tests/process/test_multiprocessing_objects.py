"""What `multiprocessing` makes for several processes, and what it says in a worker.

Whole scripts, on each start method: each prints what went wrong, and so nothing.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.process.multiprocessing_scripts import IDENTITY, KINDS, NAMELESS, TRAVELS
from tests.scripts import finished, program, run_script

ENDINGS: Final = """
    import atexit, time
    from multiprocessing import util

    def say(text):
        os.write(1, f"{text}\\n".encode())

    def register(how):
        util.Finalize(None, say, args=("finalized",), exitpriority=1)
        atexit.register(say, "at exit")
        if how == "a thread":
            threading.Thread(target=time.sleep, args=(600,)).start()
        if how == "a callback":
            atexit.register(time.sleep, 600)

    atexit.register(say, "the caller's own")
    _, how, way = sys.argv
    if way == "close":
        pool = Pool(1)
        pool.apply(register, (how,))
        pool.close()
        pool.join()
    elif way == "end":
        papply.using(processes=1)(register, how)
    else:
        with Pool(1) as pool:
            pool.apply(register, (how,))
"""
LAST_WORDS: Final = """
    import atexit, logging, multiprocessing
    from multiprocessing import util
    from pmap import Executor
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    context = multiprocessing.get_context(METHOD)

    def say(text):
        print(text, "finalized")

    def end(text):
        for number in range(1000):  # more than a socket holds
            print(text, number, "." * 300)
        logging.info("%s logged", text)
        sys.stdout.write(text + " part")
        if text in ("last", "hangs"):
            print()
        if text == "hangs":
            threading.Event().wait()

    def register(text):
        util.Finalize(None, say, args=(text,), exitpriority=1)
        atexit.register(end, text)

    pool = Pool(1, context=context)
    pool.apply(register, ("closed",))
    pool.close()
    pool.join()
    print("joined")
    with Pool(1, context=context) as pool:
        pool.apply(register, ("with",))
        pool.close()
        pool.join()
    print("left")
    with Executor(1, mp_context=context) as executor:
        executor.submit(register, "executor").result()
    print("shut down")
    papply.using(processes=1)(register, "last")
    papply.using(processes=1, threads_per_worker=3)(register, "hangs")
"""


def test_what_is_said_at_a_workers_end_is_heard(start_method: str, tmp_path: Path) -> None:
    def words(text: str, *last: str) -> list[str]:
        numbered = [f"{text} {number} {'.' * 300}" for number in range(1000)]
        return [*numbered, f"{text} logged", *last]

    def whole(text: str) -> list[str]:
        return words(text, f"{text} part{text} finalized")

    said = run_script(tmp_path, script(start_method, LAST_WORDS))
    ends = [said.index(text) + 1 for text in ("joined", "left", "shut down")]
    assert said[: ends[0]] == [*whole("closed"), "joined"]
    assert said[ends[0] : ends[1]] == [*whole("with"), "left"]
    assert said[ends[1] : ends[2]] == [*whole("executor"), "shut down"]
    rest = said[ends[2] :]
    last = [line for line in rest if line.startswith("last")]
    assert last == words("last", "last part", "last finalized")
    # What runs behind that which hangs is lost with it.
    assert [line for line in rest if line not in last] == words("hangs", "hangs part")


# What a call costs that uses what `multiprocessing` shares, and one that does not.
COUNTED: Final = """
    import multiprocessing
    from pmap._backends import boot
    from pmap._transport import light_stdlib

    sends, descriptors = [], []

    class Counting(light_stdlib.socket):
        def send(self, *data):
            sends.append(super().send(*data))
            return sends[-1]

        def sendmsg(self, buffers, ancillary=(), *more):
            descriptors.extend(len(data) // 4 for _, _, data in ancillary)
            sends.append(super().sendmsg(buffers, ancillary, *more))
            return sends[-1]

    def connection():
        ours, theirs = usual()
        return Counting(fileno=ours.detach()), theirs

    usual, boot.connection = boot.connection, connection

    context = multiprocessing.get_context(METHOD)
    lock, number, queue = context.Lock(), context.Value("i", 0), context.SimpleQueue()
    plain = 0

    def shared(x):
        with lock:
            number.value += 1
            queue.put(x)
        return x

    def alone(x):
        return plain + x

    def begin(*given):
        global mine
        mine = given

    def given(x):
        with mine[0]:
            mine[1].value += 1
        return x

    def cost(pool, function):
        sends.clear()
        descriptors.clear()
        pool.map(function, [1])
        return len(sends), sum(descriptors)

    with Pool(1, begin, (lock, number), context=context) as pool:
        pool.map(alone, [1])
        pool.map(given, [1])
        pool.map(shared, [1])
        for _ in range(3):
            calls = [cost(pool, function) for function in (alone, given, shared)]
            if calls != [(1, 0)] * 3:
                print("system calls that send, and descriptors sent:", calls)
        pool.map(shared, [1])
        bytes_each = []
        for function in (given, shared):
            cost(pool, function)
            cost(pool, function)
            bytes_each.append(sum(sends))
        cost(pool, alone)
        cost(pool, alone)
        if max(bytes_each) > sum(sends) + 64:
            print("bytes:", bytes_each, "and without", sum(sends))
    if number.value < 10:
        print("it was not used", number.value)

    # One that an item carries goes each time, with the descriptors that it has and no more.
    def take(end):
        return end.fileno() > 0

    ends = context.Pipe()
    with Pool(1, context=context) as pool:
        pool.map(take, [ends[0]])
        for _ in range(3):
            sends.clear(), descriptors.clear()
            pool.map(take, [ends[0]])
            if (len(sends), descriptors) != (1, [1]):
                print("an item with a descriptor:", len(sends), descriptors)
"""


def script(method: str, body: str) -> str:
    """Return a script in which `METHOD`, and a `Pool` without a context, mean this start method."""
    return f"METHOD = {method!r}\n" + program(method, body)


@pytest.mark.parametrize(
    "body",
    [KINDS, TRAVELS, NAMELESS, IDENTITY, COUNTED],
    ids=["kinds", "travels", "nameless", "identity", "counted"],
)
def test_objects(start_method: str, body: str, tmp_path: Path) -> None:
    assert run_script(tmp_path, script(start_method, body)) == []


@pytest.mark.parametrize(
    ("how", "way", "wanted"),
    [
        ("", "close", {"at exit", "finalized"}),
        ("", "end", {"at exit", "finalized"}),
        ("a thread", "end", {"at exit", "finalized"}),
        ("a callback", "close", set[str]()),  # it is the last, so it runs first
        ("", "terminate", set[str]()),
    ],
)
def test_what_runs_at_a_workers_end(
    start_method: str, how: str, way: str, wanted: set[str], tmp_path: Path
) -> None:
    text = script(start_method, ENDINGS).replace("Pool(1)", "Pool(1, context=of_method)")
    text = (
        f"import multiprocessing\nof_method = multiprocessing.get_context({start_method!r})\n"
        + text
    )
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    done = finished(["script.py", how, way], tmp_path)  # which does not wait for 600 s
    assert (done.stderr, done.returncode) == ("", 0)
    assert sorted(done.stdout.splitlines()) == sorted([*wanted, "the caller's own"])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_chosen_interpreter_is_started(method: str, tmp_path: Path) -> None:
    chosen = tmp_path / "chosen"
    note = tmp_path / "note"
    chosen.write_text(f'#!/bin/sh\necho started >> "{note}"\nexec "{sys.executable}" "$@"\n')
    chosen.chmod(chosen.stat().st_mode | stat.S_IXUSR)
    body = f"""
        import multiprocessing
        pmap(abs, [1])
        multiprocessing.set_executable({os.fspath(chosen)!r})
        with Pool(1, context=multiprocessing.get_context(METHOD)) as pool:
            print(pool.map(abs, [-1]))
    """
    assert run_script(tmp_path, script(method, body)) == ["[1]"]
    assert note.read_text().split() == ["started"]
