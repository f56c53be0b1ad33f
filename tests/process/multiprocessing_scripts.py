"""Scripts that send objects of `multiprocessing` to workers; each prints what went wrong."""

from typing import Final

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

    manager = multiprocessing.get_context("fork").Manager()
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
    own = Mine(authkey=b"its own", ctx=multiprocessing.get_context("fork"))
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
