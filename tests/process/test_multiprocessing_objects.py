"""What `multiprocessing` makes for several processes, and what it says in a worker.

Whole scripts, on each start method: each prints what went wrong, and so nothing.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.scripts import finished, program, run_script

CHECK: Final = """
    def check(what, found, wanted):
        if found != wanted:
            print(what, "is", found, "and should be", wanted)

    def refused(what, call, *says):
        try:
            print(what, "gave", call())
        except Exception as error:
            for text in says:
                if text not in str(error):
                    print(what, "does not say", repr(text), "but:", error)
"""

# Each kind at each place where an object can stand.
KINDS: Final = (
    CHECK
    + """
    import multiprocessing
    from functools import partial

    context = multiprocessing.get_context(METHOD)
    kinds = {
        "Lock": context.Lock(), "RLock": context.RLock(), "Semaphore": context.Semaphore(2),
        "BoundedSemaphore": context.BoundedSemaphore(2), "Event": context.Event(),
        "Condition": context.Condition(), "Barrier": context.Barrier(1),
        "Value": context.Value("i", 0), "Array": context.Array("i", [0]),
        "RawValue": context.RawValue("i", 0), "RawArray": context.RawArray("i", 1),
        "Queue": context.Queue(), "SimpleQueue": context.SimpleQueue(),
        "JoinableQueue": context.JoinableQueue(), "Pipe": context.Pipe(),
    }

    def use(kind, given):
        if "Lock" in kind or "Semaphore" in kind:
            return given.acquire()  # the caller lets go
        if kind == "Event":
            given.set()
        elif kind == "Condition":
            with given:
                given.notify()
        elif kind == "Barrier":
            given.wait()
        elif "Value" in kind:
            given.value += 1
        elif "Array" in kind:
            given[0] += 1
        elif "Queue" in kind:
            given.put("sent")
        else:
            given[1].send("sent")
        return True

    def seen(kind, given):
        if kind in ("Lock", "Semaphore", "BoundedSemaphore"):
            given.release()
            return True
        if kind == "Event":
            found = given.is_set()
            given.clear()
            return found
        if "Value" in kind:
            found, given.value = given.value, 0
            return found == 1
        if "Array" in kind:
            found, given[0] = given[0], 0
            return found == 1
        if "Queue" in kind:
            return given.get() == "sent"
        return kind != "Pipe" or given[0].recv() == "sent"

    # A worker that has an RLock keeps it: each use is in a worker of its own.
    def use_twice(kind, given):
        result = use(kind, given)
        if kind == "RLock":
            given.release()
        return result

    def begin(name, value):
        global kind_here, given_here
        kind_here, given_here = name, value

    def by_initializer(_):
        return use_twice(kind_here, given_here)

    def by_global(kind):
        return use_twice(kind, kinds[kind])

    def by_closure(kind, given):
        return lambda _: use_twice(kind, given)

    for kind, given in kinds.items():
        with Pool(1, begin, (kind, given), context=context) as pool:
            check(("initargs", kind), pool.map(by_initializer, [0]), [True])
            check(("initargs, seen", kind), seen(kind, given), True)
            # In order: a worker that is killed may hold the lock of a queue, for ever.
            pool.close()
            pool.join()
        check(("item", kind), pmap(use_twice, [kind], [given]), [True])
        check(("item, seen", kind), seen(kind, given), True)
        check(("argument", kind), papply(partial(use_twice, kind, given=given)), True)
        check(("argument, seen", kind), seen(kind, given), True)
        check(("closure", kind), papply(by_closure(kind, given), 0), True)
        check(("closure, seen", kind), seen(kind, given), True)
    for kind, given in kinds.items():
        check(("global", kind), papply(by_global, kind), True)
        check(("global, seen", kind), seen(kind, given), True)
"""
)

TRAVELS: Final = (
    CHECK
    + """
    import ctypes, multiprocessing, socket
    from multiprocessing import shared_memory
    from multiprocessing.reduction import ForkingPickler

    # Both ways, and more at once than one message has room for.
    def send(end):
        end.send(os.getpid())
        return end

    pipes = [multiprocessing.Pipe() for _ in range(70)]
    back = pmap(send, [there for _, there in pipes], chunksize=70)
    check("sent", {here.recv() for here, _ in pipes} & {os.getpid()}, set())
    for end in back:
        end.send("home")
    check("sent at home", {here.recv() for here, _ in pipes}, {"home"})

    def make():
        here, there = socket.socketpair()
        there.settimeout(2.5)
        here.send(b"made")
        return {"end": there}

    made = papply(make)["end"]
    check("a socket comes home", (made.recv(9), made.gettimeout()), (b"made", 2.5))
    here, there = socket.socketpair()
    here.settimeout(1.5)
    check("a socket goes", papply(lambda end: (end.send(b"x"), end.gettimeout()), here), (1, 1.5))
    check("what it was sent", there.recv(9), b"x")

    def move(point):
        point.value += 1
        return point

    point = multiprocessing.RawValue("i", 1)
    same = papply(move, point)
    same.value += 1
    check("one memory", (point.value, same.value), (3, 3))
    check("a number of its own", papply(lambda n: n.value, ctypes.c_int(5)), 5)
    check("made there", list(papply(lambda: multiprocessing.RawArray("i", [1, 2]))), [1, 2])

    manager = multiprocessing.Manager()
    shared, lock, queue = manager.dict(), manager.Lock(), manager.Queue()

    def note(key):
        with lock:
            shared[key] = 1
        queue.put(key)
        return shared

    check("proxies as globals", dict(pmap(note, ["a"])[0]), {"a": 1})

    def note_in(given, key):
        given[key] = given.copy()

    papply(note_in, shared, "b")
    check("as an argument", (shared["b"], queue.get()), ({"a": 1}, "a"))

    from multiprocessing.managers import BaseManager
    class Mine(BaseManager):
        pass
    Mine.register("numbers", list, exposed=["append", "__len__"])
    own = Mine(authkey=b"its own")
    own.start()
    numbers = own.numbers()
    check("a key of its own", papply(lambda given: given.append(1), numbers), None)
    check("it was let in", numbers.__len__(), 1)
    own.shutdown()

    class Locked:
        def __init__(self, x):
            self.x = x
            self.lock = threading.Lock()

    ForkingPickler.register(Locked, lambda given: (Locked, (given.x,)))
    fixed = Locked(3)
    check("registered", papply(lambda given: given.x, Locked(1)), 1)
    check("registered, home", papply(lambda: Locked(2)).x, 2)
    check("registered, a global", papply(lambda: fixed.x), 3)

    def segment():
        made = shared_memory.SharedMemory(create=True, size=64)
        made.buf[0] = 7
        made.close()
        return made.name

    # It outlives the worker that made it.
    found = shared_memory.SharedMemory(papply.using(isolate=True)(segment))
    check("shared memory", found.buf[0], 7)
    papply(lambda: found.buf[0])
    found.close()
    found.unlink()

    # What cannot: by its name, and never as a number.
    child = multiprocessing.get_context("fork").Process(target=abs, args=(1,))
    child.start()
    refused("a process", lambda: papply(type, child), "Popen", "by their numbers")
    child.join()

    class Failure(Exception):
        pass

    def fail(end):
        raise Failure(end)

    refused("in an exception", lambda: papply(fail, pipes[0][1]), "a descriptor cannot travel")
    manager.shutdown()
"""
)

NAMELESS: Final = (
    CHECK
    + """
    import multiprocessing
    context = multiprocessing.get_context("fork")
    lock, state = context.Lock(), {"deep": [context.Value("i", 0)]}

    def use(_):
        with lock:
            return True

    def use_state(_):
        with state["deep"][0].get_lock():
            return True

    if METHOD == "fork":
        check("a global", pmap(use, range(2)), [True, True])
        late = context.Lock()
        check("newer than the workers", papply((lambda given: lambda: given.acquire())(late)), True)
        refused("a newer item", lambda: papply(id, context.Lock()), "is newer than this worker")
    else:
        says = "start method fork", 'get_context("spawn")', 'start_method="fork"'
        refused("a global", lambda: pmap(use, [0]), "use -> global 'lock'", *says)
        path = "use_state -> global 'state' -> ['deep'] -> [0] -> ._lock:"
        refused("a part of a global", lambda: pmap(use_state, [0]), path, *says)
        refused("an item", lambda: pmap(id, [lock]), "the argument: multiprocessing.sync", *says)
        chosen = multiprocessing.get_context(METHOD)
        refused("initargs", lambda: Pool(1, id, (lock,), context=chosen), "initargs -> [0]", *says)

    def begin(*given):
        global mine
        mine = given

    def use_mine(_):
        with mine[0]:
            return multiprocessing.current_process().name[:4]

    # The usual idiom, where no start method is chosen: as multiprocessing does it.
    with Pool(1, begin, (lock, threading.Lock())) as pool:
        check("nothing chosen", pool.map(use_mine, [0]), ["Fork"])
    unset = pmap.using(start_method=None, initializer=begin, initargs=(lock,))
    check("nothing chosen, a verb", unset(use_mine, [0]), ["Fork"])
"""
)

IDENTITY: Final = (
    CHECK
    + """
    check("not imported", papply(lambda: "multiprocessing" in sys.modules), False)
    watching = lambda: [type(one).__name__ for one in sys.meta_path].count("_Watch")

    def who():
        from multiprocessing import current_process, parent_process, resource_tracker
        me, parent = current_process(), parent_process()
        about = me.name, me._identity, me.daemon, me.pid == os.getpid(), repr(me)[:2]
        return *about, parent.name, parent.pid, parent.is_alive(), watching()

    kind = {"fork": "Fork", "spawn": "Spawn", "forkserver": "ForkServer"}[METHOD]
    name = f"{kind}PoolWorker-1"
    wanted = name, (1,), True, True, "<P", "MainProcess", os.getpid(), True, 0
    check("who", papply.using(processes=1)(who), wanted)

    def at_the_door(index):
        import multiprocessing
        door = multiprocessing.get_context("fork").Process(target=abs, args=(1,))
        door.start()  # a worker may have children
        door.join()
        gate.wait()
        return multiprocessing.current_process()._identity

    import multiprocessing
    gate = multiprocessing.get_context(METHOD).Barrier(3)
    three = pmap.using(processes=3)
    check("each has its own", sorted(three(at_the_door, range(3), chunksize=1)), [(1,), (2,), (3,)])
    key = bytes(multiprocessing.current_process().authkey)
    check("its key", papply(lambda: bytes(multiprocessing.current_process().authkey)), key)
    multiprocessing.current_process().authkey = b"another"
    check("a new key", papply(lambda: bytes(multiprocessing.current_process().authkey)), b"another")
"""
)

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
