# ruff: noqa: E501 - the lines of programs in strings
"""What a script defines means in a worker what it means at the caller: names, classes, functions.

Each program runs with every start method, as a file; one of them in every other way to run a
program. It says what differs, and that it came to its end.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.process.namespace_identity import IDENTITY
from tests.process.namespace_kinds import KINDS
from tests.process.namespace_names import NAMES
from tests.process.namespace_objects import OBJECTS
from tests.scripts import run

if TYPE_CHECKING:
    from pmap._types import StartMethod

HEAD: Final = """\
from __future__ import annotations
import abc, collections, dataclasses, enum, functools, multiprocessing, operator, pickle, sys
import collections.abc, numbers, threading, typing, weakref
from concurrent.futures import ProcessPoolExecutor
import pmap as library
METHOD = {method!r}
pmap = library.pmap.using(processes=2, start_method=METHOD)
one = library.pmap.using(processes=1, start_method=METHOD)
def Pool(count, *arguments):
    return library.Pool(count, *arguments, context=multiprocessing.get_context(METHOD))
def check(label, got, wanted):
    if got != wanted:
        print(label, got, wanted)
def raised(call):
    try:
        return call()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"
"""
TAIL: Final = "\nprint('done')\n"

PROGRAMS: Final = {"names": NAMES, "kinds": KINDS, "identity": IDENTITY, "objects": OBJECTS}


def program(method: str, body: str) -> str:
    return HEAD.format(method=method) + body + TAIL


@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_as_a_file(start_method: "StartMethod", body: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program(start_method, body), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"


def test_from_stdin(tmp_path: Path) -> None:
    text = program("forkserver", NAMES)
    assert run(["-"], tmp_path, stdin=text) == "done\n"


def test_from_the_command_line(tmp_path: Path) -> None:
    assert run(["-c", program("spawn", NAMES)], tmp_path) == "done\n"


def test_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(program("fork", NAMES), encoding="utf-8")
    assert run(["-m", "module"], tmp_path) == "done\n"


CHILD: Final = """
import multiprocessing
from pmap import pmap, Pool
LIMIT = 3
state = None
class Point:
    def __init__(self, x):
        self.x = x
MISSING = Point(0)
class Held:
    f = staticmethod(id)
def begin():
    global state
    state = LIMIT
def same(x, s=MISSING):
    return s is MISSING and Held.f is begin
Held.f = staticmethod(begin)
def work(point):
    return Point(point.x + LIMIT + (state or 0))
def child(queue):
    plain = pmap(work, [Point(1)], processes=1)
    with Pool(1, begin) as pool:
        started = pool.map(work, [Point(1)])
    forked = pmap.using(processes=1, start_method="fork")
    forked(abs, [1])  # the worker is there before it is told of anything
    same_there = forked(work, [Point(1)])[0].x, forked(same, [1])[0]
    queue.put([type(p) is Point and p.x for p in plain + started] + [*same_there])
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_in_a_child_of_multiprocessing(method: str, tmp_path: Path) -> None:
    # With the first two the script is a module of another name there: it is run again.
    script = tmp_path / "script.py"
    script.write_text(CHILD.format(method=method), encoding="utf-8")
    assert run([str(script)], tmp_path) == "[4, 7, 4, True]\n"


GROWTH: Final = """
import gc, weakref
def size(_): return len(G["data"])
def memory(_):
    return int(open("/proc/self/statm").read().split()[1]) * 4096
G = {}
sizes = []
seen = []
for number in range(400):
    G["data"] = bytes([number % 256]) * 100_000
    one(size, [1])
    if number in (100, 399):
        sizes.append(one(memory, [1])[0])
check("workers do not keep what is old", sizes[1] - sizes[0] < 10_000_000, True)
for number in range(30):
    class A:
        data = b"x" * 1000
        def __init__(self):
            super().__init__()
    class Kind(enum.Enum):
        ONE = number
    seen += [weakref.ref(A), weakref.ref(Kind)]
    one(lambda _: A() and Kind.ONE and 1, [1])
gc.collect()
check("the caller does not keep what is old", sum(each() is not None for each in seen) <= 4, True)
"""


FORKED: Final = """
import contextvars
def tags(item): return type(item).tag, Tagged.tag
class Tagged: tag = 0
one(tags, [Tagged()])
made = []
for number in range(1, 40):
    class Tagged: tag = number
    made.append(Tagged)
check("classes of one name", [one(tags, [cls()])[0] for cls in made], [(n, 39) for n in range(1, 40)])
variable = contextvars.ContextVar("variable", default="unset")
token = variable.set("set")
def read_variable(_): return variable.get()
with Pool(1) as pool:
    check("set at the fork", pool.map(read_variable, [1]), ["set"])
    variable.reset(token)
    check("and unset since", pool.map(read_variable, [1]), ["unset"])
class Connected:
    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()
connection = Connected("a")
def which(_): return connection.name
with Pool(1) as pool:
    check("inherited", pool.map(which, [1]), ["a"])
    connection = Connected("b")
    check("another one that cannot be sent", pool.map(which, [1]), ["b"])
class Kept:
    items = []
    by_hand = None
items = Kept.items
made = Kept()
data = [1]
def init():
    Kept.by_hand = 7
def look(_):
    return Kept.items is items, type(made) is Kept, Kept.by_hand, data
with Pool(1, init) as pool:
    data.append(2)
    check("a fork has the caller's own", pool.map(look, [1]), [(True, True, 7, [1, 2])])
    Kept.more = 1
    check("and what changed", pool.map(lambda _: (Kept.more, Kept.by_hand), [1]), [(1, 7)])
    check("its class comes home", type(pool.map(lambda _: made, [1])[0]) is Kept, True)
"""


def test_a_fork_has_what_its_caller_has(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("fork", FORKED), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"


def test_nothing_grows(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("forkserver", GROWTH), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"


COUNTS: Final = """
import os
from pmap._transport.light_stdlib import socket
from pmap._backends import boot, processes
from pmap._transport.by_value import unit_writer
sent, pickled = [], []
class Counting(socket):
    def send(self, *data):
        sent.append(super().send(*data))
        return sent[-1]
    def sendmsg(self, *data):
        sent.append(super().sendmsg(*data))
        return sent[-1]
boot.socketpair_of_old, boot.socketpair = boot.socketpair, None
def pair():
    ours, theirs = boot.socketpair_of_old()
    return Counting(fileno=ours.detach()), theirs
boot.socketpair = pair
made = unit_writer.payload_of_pickles
def counted(data, buffers):
    payload = made(data, buffers)
    pickled.append(payload.size)
    return payload
unit_writer.payload_of_pickles = counted
big = {n: str(n) for n in range(100_000)}
small = 1
def look(key):
    return big[key], small
with Pool(2) as pool:
    for number in range(10):
        pool.map(look, range(8), chunksize=1)
    check("pickled once", sum(size > 500_000 for size in pickled), 1)
    check("nothing else", len(pickled), 1)
    total = sum(sent)
    for number in range(10):
        small = number
        pool.map(look, range(8), chunksize=1)
    check("and not again", sum(size > 500_000 for size in pickled), 1)
    check("what changes is small", max(pickled[1:]) < 200, True)
    check("what is sent, too", sum(sent) - total < 30_000, True)
    big[0] = "changed"
    check("changed", pool.map(look, [0]), [("changed", 9)])
    check("pickled again", sum(size > 500_000 for size in pickled), 2)
"""


def test_a_large_global_is_pickled_once_and_sent_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("forkserver", COUNTS), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"
