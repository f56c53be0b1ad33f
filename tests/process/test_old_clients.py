"""Programs that take our pools for those of ``multiprocessing``: by ``isinstance``, by their names.

Which libraries do so is tried in `tests.clients`.
"""

import multiprocessing
import multiprocessing.pool as standard
import os
import pickle
import signal
import threading
from functools import singledispatch
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.backends import START_METHODS
from tests.limits import until
from tests.processes import lives
from tests.scripts import run

from pmap import AsyncResult, Pool, ResultStream, ThreadPool, WorkerLost, pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod

each_method = pytest.mark.parametrize("method", START_METHODS)


class Named(Pool):
    """A subclass as scripts have them, with one more argument, and the old way to its base."""

    def __init__(self, name: str, processes: int | None = None, **more: Any) -> None:
        super(self.__class__, self).__init__(processes, **more)
        self.name = name

    def map(self, func: Any, iterable: Any, chunksize: int | None = None) -> list[Any]:
        return [self.name, *super().map(func, iterable, chunksize)]

    def fill(self) -> int:
        return len(self._pool)


def pool_with(method: str, processes: int = 2) -> Pool:
    return Pool(processes, context=multiprocessing.get_context(method))


# --- isinstance ----------------------------------------------------------------------------------

PROGRAM: Final = """
import sys
{first}
from pmap import AsyncResult, Pool, ResultStream, ThreadPool
class Named(Pool):
    def __init__(self, name, processes):
        super(self.__class__, self).__init__(processes)
        self.name = name
{second}
named, pool, threads = Named("a", 1), Pool(1), ThreadPool(1)
later, each = threads.apply_async(abs, (-1,)), threads.map_async(abs, [-1])
ordered, unordered = threads.imap(abs, [-1]), threads.imap_unordered(abs, [-1])
print(pool.map(abs, [-1]), threads.map(abs, [-1]), named.map(abs, [-1]), named.name)
print(later.get(), each.get(), list(ordered), list(unordered))
print("multiprocessing.pool" in sys.modules)
{third}
from multiprocessing import pool as theirs
for one in (pool, threads, named, later, each, ordered, unordered):
    names = ["Pool", "ThreadPool", "AsyncResult", "MapResult", "IMapIterator"]
    names.append("IMapUnorderedIterator")
    assert isinstance(one, type(one)), one
    print([name for name in names if isinstance(one, getattr(theirs, name))])
assert type(pool) is pool.__class__ is Pool, pool.__class__
assert type(named) is named.__class__ is Named, named.__class__
assert isinstance(threads, Pool) and isinstance(later, AsyncResult)
assert isinstance(ordered, ResultStream)
assert issubclass(Named, theirs.Pool) and issubclass(ThreadPool, theirs.ThreadPool)
assert Named("b", 1).map(abs, [-2]) == [2]
ours = ["__main__", "pmap", "multiprocessing.pool", "builtins"]
assert [one.__module__ for one in Named.__mro__] == ours, Named.__mro__
ours = ["pmap", "pmap", "multiprocessing.pool", "multiprocessing.pool", "builtins"]
assert [one.__module__ for one in ThreadPool.__mro__] == ours, ThreadPool.__mro__
for one in (pool, threads, named):
    one.terminate()
"""
ANSWERS: Final = """
['Pool']
['Pool', 'ThreadPool']
['Pool']
['AsyncResult']
['AsyncResult', 'MapResult']
['IMapIterator']
['IMapIterator', 'IMapUnorderedIterator']
"""


@pytest.mark.parametrize("place", ["first", "second", "third"])
def test_isinstance_holds_whenever_the_standard_module_is_imported(
    place: str, tmp_path: Path
) -> None:
    lines: dict[str, str] = dict.fromkeys(("first", "second", "third"), "")
    lines[place] = "import multiprocessing.pool"
    (tmp_path / "program.py").write_text(PROGRAM.format(**lines), encoding="utf-8")
    printed = run(["-W", "ignore::ResourceWarning", "program.py"], tmp_path)
    heading = f"[1] [1] [1] a\n1 [1] [1] [1]\n{place != 'third'}"
    assert printed == heading + ANSWERS


def test_a_class_that_hears_of_its_subclasses_hears_of_no_other(tmp_path: Path) -> None:
    program = """
from pmap import ThreadPool
heard = []
class Base(ThreadPool):
    def __init_subclass__(cls):
        heard.append(cls.__name__)
class Own(Base): pass
with Own(1) as own:
    import multiprocessing.pool
    print(isinstance(own, multiprocessing.pool.Pool), own.map(abs, [-1]), heard)
"""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    assert run(["program.py"], tmp_path) == "True [1] ['Own']\n"


def test_other_questions_of_type_are_answered_as_before() -> None:
    @singledispatch
    def kind(_: object) -> str:
        return "unknown"

    @kind.register
    def _(_: standard.Pool) -> str:
        return "pool"

    @kind.register
    def _(_: standard.AsyncResult) -> str:  # type: ignore[type-arg]
        return "handle"

    with ThreadPool(1) as pool:
        later = pool.apply_async(abs, (-1,))
        stream = pool.imap(abs, [-1])
        assert (kind(pool), kind(later), kind(stream)) == ("pool", "handle", "unknown")
        assert later.__class__.__name__ == "AsyncResult"
        assert later.__class__ is pool.apply_async(abs, (-1,)).__class__
        assert issubclass(later.__class__, AsyncResult)
        assert issubclass(stream.__class__, ResultStream)
        assert not isinstance(later, (standard.Pool, dict))
        assert type(later) is AsyncResult
        assert list(stream) == [1]
        with pytest.raises(NotImplementedError, match="a verb used inside a worker runs there"):
            pickle.dumps(pool)


# --- a subclass ----------------------------------------------------------------------------------


@each_method
def test_a_subclass_with_arguments_and_methods_of_its_own(method: str) -> None:
    with Named("a", 2, context=multiprocessing.get_context(method)) as pool:
        assert pool.map(abs, [-1, 2]) == ["a", 1, 2]
        asked: object = pool
        assert isinstance(asked, standard.Pool)
        assert pool.fill() == 2
        assert repr(pool) == f"<Named 2 processes, 0 busy, 2 items done, {method}>"
        pool._processes = 3  # its own from now on
        vars(pool)["_pool"] = [1]
        assert (pool._processes, pool.fill()) == (3, 1)


# --- what is private in multiprocessing ----------------------------------------------------------


@each_method
def test_the_workers_of_a_pool(method: str) -> None:
    with pool_with(method) as pool:
        workers = pool._pool
        assert (len(workers), pool._processes, pool._state) == (2, 2, standard.RUN)
        pids = [worker.pid for worker in workers]
        assert None not in pids
        assert len(set(pids)) == 2
        assert set(pool.map(take_pid, range(20), 1)) <= set(pids)
        known = {worker.pid: (worker._identity, worker.name, worker.daemon) for worker in workers}
        assert sorted(identity for identity, _, _ in known.values()) == [(1,), (2,)]
        for pid, *who in pool.map(take_identity, range(4), 1):
            assert known[pid] == tuple(who)
        assert all(worker.is_alive() and worker.exitcode is None for worker in workers)
        assert [worker.pid for worker in workers[:1]] == [workers[0].pid] == pids[:1]
        first = workers[0]
        os.kill(pids[0] or 0, signal.SIGKILL)
        first.join()
        assert (first.is_alive(), first.exitcode) == (False, -signal.SIGKILL)
        assert first._popen is not None
        assert first._popen.pid == pids[0]
        assert pool.map(abs, [-1]) == [1]
        pool._repopulate_pool()
        again = [worker.pid for worker in pool._pool]
        assert None not in again
        assert pids[0] not in again
        for worker in pool._pool:
            worker.terminate()
            worker.join()
            assert not worker.is_alive()
        assert pool.map(abs, [-1]) == [1]
        backend: Any = pool._driver.backend
        assert pool._ctx.get_start_method() == backend._starter.method == method
        pool.close()
        assert pool._state == "CLOSE"
        pool.join()
        assert [worker.is_alive() for worker in pool._pool] == [False, False]
    assert pool._state == "TERMINATE"


@each_method
def test_a_worker_that_ended_unseen_is_replaced(method: str) -> None:
    with pool_with(method) as pool:
        pids = [worker.pid or 0 for worker in pool._pool]
        os.kill(pids[0], signal.SIGKILL)
        until(lambda: not lives(pids[0]))
        pool._repopulate_pool()
        again = [worker.pid for worker in pool._pool]
        assert None not in again
        assert pids[0] not in again


@each_method
def test_how_workers_have_ended(method: str) -> None:
    pool = pool_with(method, 3)
    workers = pool._pool[:]
    with pytest.raises(WorkerLost):
        pool.apply(os._exit, (7,))
    assert [worker.exitcode for worker in workers if not worker.is_alive()] == [7]
    left = [worker for worker in workers if worker.is_alive()]
    if hasattr(os, "pidfd_open"):
        ends = [worker.sentinel for worker in left]
        assert wait(ends, 0) == []
        left[0].kill()
        assert wait(ends) == ends[:1]
    left[0].kill()
    left[0].join()
    # With forkserver it may have gone in order before the template has sent it the signal.
    left[1].terminate()
    left[1].join()
    codes = left[0].exitcode, left[1].exitcode
    assert codes in ((-signal.SIGKILL, -signal.SIGTERM), (-signal.SIGKILL, 0))
    pool._repopulate_pool()
    ended = pool._pool[:]
    pool.close()
    pool.join()
    assert [worker.exitcode for worker in ended] == [0, 0, 0]
    with ThreadPool(1) as threads:
        (thread,) = threads._pool[:]
        assert (thread.exitcode, thread._popen) == (None, None)
    until(lambda: thread.exitcode == 0)
    with pytest.raises(ValueError, match="no such process"):
        print(thread.sentinel)


def test_the_bare_verb_has_the_map_of_a_pool(start_method: "StartMethod") -> None:
    assert pmap.map is pmap
    verb = pmap.using(processes=1, start_method=start_method)
    assert [*map(abs, [-1])] == verb.map(abs, [-1])


def take_identity(_: object) -> tuple[int, tuple[int, ...], str, bool]:
    me = multiprocessing.current_process()
    return os.getpid(), getattr(me, "_identity", ()), me.name, me.daemon


def take_pid(_: object) -> int:
    return os.getpid()


def test_progress_as_old_clients_ask_for_it() -> None:
    gate = threading.Event()
    with ThreadPool(1) as pool:
        assert (pool._cache, pool._taskqueue.qsize(), pool._taskqueue.empty()) == ({}, 0, True)
        later = pool.map_async(lambda _: gate.wait(), range(3), chunksize=1)
        calls = [pool.apply_async(abs, (-1,)) for _ in range(2)]
        assert later._number_left * later._chunksize == 3
        assert len(pool._cache) == 3
        assert pool._cache[later._job or -1]._number_left == 3
        assert (pool._taskqueue.qsize(), pool._taskqueue.empty()) == (2, False)
        gate.set()
        assert later.get() == [True] * 3
        assert [call.get() for call in calls] == [1, 1]
        until(lambda: not pool._cache)
        assert later._number_left == 0


def test_a_worker_may_be_asked_for_where_nobody_can_wait() -> None:
    class Asks:
        def __reduce__(self) -> tuple[type, tuple[()]]:
            seen.append(len([worker.pid for worker in pool._pool]))  # while the pool's lock is held
            return int, ()

    seen: list[int] = []
    with pool_with("forkserver") as pool:
        pool.map(repr, [Asks()])
        later = pool.apply_async(abs, (-1,), callback=lambda _: seen.append(len([*pool._pool])))
        assert later.get() == 1
    assert seen == [2, 2]
    assert len([*pool._pool]) == 2


# --- threads -------------------------------------------------------------------------------------


def test_a_pool_of_threads() -> None:
    begun: list[tuple[int, str]] = []

    def begin(name: str) -> None:
        begun.append((threading.get_ident(), name))

    with ThreadPool(3, begin, ("a",)) as pool:
        idents = set(pool.map(lambda _: threading.get_ident(), range(50), chunksize=1))
        until(lambda: len(begun) == 3)
        assert idents <= {ident for ident, _ in begun}
        assert {name for _, name in begun} == {"a"}
        assert threading.get_ident() not in idents
        box: list[int] = []
        pool.map(box.append, [1, 2])
        assert sorted(box) == [1, 2]
        assert pool.starmap(pow, [(2, 3)]) == [8]
        assert pool.apply(int, ("ff",), {"base": 16}) == 255
        assert pmap(abs, [-1], pool=pool) == [1]
        assert repr(pool) == "<ThreadPool 3 threads, 0 busy, 55 items done>"
        assert [worker.pid for worker in pool._pool] == [None] * 3
        assert all(worker.is_alive() for worker in pool._pool)
    with pytest.raises(ValueError, match="processes is an int"):
        ThreadPool(0)


def test_an_item_of_a_pool_of_threads_may_use_that_pool() -> None:
    with ThreadPool(1) as pool, ThreadPool(1) as other:

        def nested(x: int) -> list[int]:
            later = pool.apply_async(abs, (-x,))
            return [*pool.map(abs, [-x]), later.get(), *pool.imap(abs, [x]), *other.map(abs, [x])]

        assert pool.map(nested, [1, 2]) == [[1] * 4, [2] * 4]


def test_a_thread_keeps_no_result_that_it_has_told() -> None:
    class Thing:
        gone = threading.Event()

        def __del__(self) -> None:
            Thing.gone.set()

    with ThreadPool(1) as pool:
        pool.map(lambda _: Thing(), [1])
        until(Thing.gone.is_set)


def test_a_pool_that_is_left_running_says_so_in_the_words_of_multiprocessing() -> None:
    before = {*threading.enumerate()}  # a shared pool may have one, which waits for a minute
    with pytest.warns(
        ResourceWarning, match="unclosed running multiprocessing pool <ThreadPool 1 thread, "
    ):
        ThreadPool(1)
    until(lambda: not [t for t in {*threading.enumerate()} - before if t.name.startswith("pmap-")])


# --- a class of the script that holds a live pool ------------------------------------------------

HOLDER: Final = """
import sys, threading, multiprocessing
from dataclasses import dataclass
from typing import ClassVar
from pmap import Pool, pmap
pool = Pool(2, context=multiprocessing.get_context({method!r}))
class Holder:
    pool = None
    pools = []
    def __init__(self, k): self.k = k
    def add(self, x): return x + self.k
    @classmethod
    def more(cls, x): return x + 1
    @staticmethod
    def less(x): return x - 1
    @classmethod
    def go(cls): return cls.pool.map(cls.more, [1, 2])
    def uses(self): return pool.map(self.add, [1])
class Child(Holder): pass
class Meta(type):
    def twice(cls, x): return 2 * x
class Made(metaclass=Meta): pool = pool
@dataclass
class Data:
    k: int
    pool: ClassVar[object] = pool
    def add(self, x): return x + self.k
class Own(Pool):
    def __init__(self, name, **more):
        super().__init__(1, **more)
        self.name = name
    def map(self, f, xs): return super().map(f, [*xs])
class Held:
    pool = Own("own", context=multiprocessing.get_context({method!r}))
    @classmethod
    def more(cls, x): return x + 5
Holder.pool, Holder.pools = pool, [(pool, threading.Lock())]
print(Holder.go(), pool.map(Holder.less, [1]), pool.map(Holder(3).add, [1]), Holder(2).uses())
print(Child.go(), pool.map(Child(3).add, [1]), pool.map(Made.twice, [1]))
print(pool.map(Data(2).add, [1]))
print(Held.pool.map(Held.more, (1, 2)), pmap(Holder.more, [1], pool=pool))
print([one.k for one in pool.map(lambda one: Child(one.k + 1), [Holder(1), Child(2)])])
Held.pool.terminate(); pool.terminate()
"""


@each_method
def test_a_class_of_the_script_that_holds_a_live_pool(method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(HOLDER.format(method=method), encoding="utf-8")
    assert run(["program.py"], tmp_path) == (
        "[2, 3] [0] [4] [3]\n[2, 3] [4] [2]\n[3]\n[6, 7] [2]\n[2, 3]\n"
    )


THEIRS: Final = """
import multiprocessing, sys, unittest
import test._test_multiprocessing as theirs
from pmap import Pool
def make(*args, **kwargs):
    return Pool(*args, **kwargs, context=multiprocessing.get_context({method!r}))
multiprocessing.Pool = make  # one of the tests calls that one
class TestPool(theirs._TestPool, theirs.ProcessesMixin, unittest.TestCase):
    Pool = staticmethod(make)
class TestErrors(theirs._TestPoolWorkerErrors, theirs.ProcessesMixin, unittest.TestCase):
    Pool = staticmethod(make)
loader = unittest.TestLoader()
loader.testNamePatterns = ["*exception*", "*unp*", "*trace*", "*map_async*", "*make*", "*refs*"]
suite = loader.loadTestsFromModule(sys.modules["__main__"])
over = unittest.TextTestRunner(sys.stdout, verbosity=0).run(suite)
assert over.wasSuccessful() and over.testsRun > 9, over
"""


@each_method
def test_tests_of_cpython_as_the_own_classes_of_a_script(method: str, tmp_path: Path) -> None:
    # Not imported here: that would start a tracker, which this run would be said to leave behind.
    if not find_spec("test") or not find_spec("test._test_multiprocessing"):
        pytest.skip("the interpreter ships no tests")
    (tmp_path / "program.py").write_text(THEIRS.format(method=method), encoding="utf-8")
    assert "OK" in run(["-W", "ignore", "program.py"], tmp_path)
