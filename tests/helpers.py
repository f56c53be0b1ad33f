"""What the tests share: functions for workers, bad objects, and what a test must not leave.

Workers import this module by its name, so it imports little.
"""

import faulthandler
import multiprocessing.pool
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, Never, Self

if TYPE_CHECKING:
    from pmap._types import Backend, StartMethod

# Typeshed has neither of the two.
RemoteTraceback: Final[type[Exception]] = vars(multiprocessing.pool)["RemoteTraceback"]
MaybeEncodingError: Final[type[Exception]] = vars(multiprocessing.pool)["MaybeEncodingError"]
START_METHODS: Final[tuple["StartMethod", ...]] = ("spawn", "forkserver", "fork")
PATIENCE: Final = 30.0  # seconds after which something that should happen at once has not


@dataclass(frozen=True)
class Settings:
    """A backend, and for processes a start method."""

    name: str
    backend: "Backend"
    start_method: "StartMethod | None" = None

    @property
    def processes(self) -> bool:
        """Whether items run in processes of their own."""
        return self.backend == "processes"


BACKENDS: Final = (
    *(Settings(method, "processes", method) for method in START_METHODS),
    Settings("threads", "threads"),
    Settings("serial", "serial"),
)


def until(condition: Callable[[], object], what: str = "it", limit: float = PATIENCE) -> None:
    """Return when `condition` holds; fail if it does not in time."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {limit} s")
        time.sleep(0.002)


# --- what is left ------------------------------------------------------------------------------


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended meanwhile
            parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def descendants(of: int | None = None) -> set[int]:
    """Return the ids of all processes below `of`, this one by default; zombies count."""
    parents = _parents()
    found = {of or os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {of or os.getpid()}


def describe_process(pid: int) -> str:
    """Return what there is to say of a process in one line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        where = Path(f"/proc/{pid}/wchan").read_text(encoding="utf-8")
    except OSError:
        return f"{pid} (gone)"
    return f"{pid} state {state} in {where}: {command[:60]}...{command[-40:]}"


def show_descendants(fd: int) -> None:
    """Write to `fd` which processes there are below this one, and make them dump their stacks."""
    for pid in sorted(descendants()):
        os.write(fd, f"\nstill there: {describe_process(pid)}\n".encode())
        try:
            os.kill(pid, signal.SIGABRT)
        except ProcessLookupError:
            pass


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    places: list[str] = []
    while frame is not None and len(places) < 4:
        places.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(places)


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            # Below 3 are the standard streams, which pytest puts elsewhere and back.
            if int(name) > 2:
                found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the one that listed the directory
    return found


def _open_pools() -> list[Any]:
    from pmap._engine import driver as _driver

    return [driver for driver in list(_driver._drivers) if not driver.closed]


def _shared_pools() -> list[Any]:
    from pmap._api.shared_pools import shared_pools

    return list(shared_pools.drivers.values())


def show_pools() -> list[str]:
    """Return what there is to say of each pool that still has workers."""
    from pmap._engine import driver as _driver

    return [
        f"{type(driver.backend).__name__} closed={driver.closed!r} busy={driver.busy} "
        f"workers={driver._scheduler.workers} thread={driver._thread} inbox={len(driver._inbox)} "
        f"shared={driver in _shared_pools()}"
        for driver in list(_driver._drivers)
        if driver._scheduler.workers
    ]


def end_shared_pools() -> None:
    """End the library's warm pools, as the end of the program would."""
    from pmap._api.shared_pools import shared_pools

    while shared_pools.drivers:
        _, driver = shared_pools.drivers.popitem()
        driver.terminate()


def _pids_of(drivers: Iterable[Any]) -> set[int]:
    pids: set[int] = set()
    for driver in drivers:
        if hasattr(driver.backend, "pids"):
            pids.update(driver.backend.pids())
            template = driver.backend._template
            if template is not None:
                pids.add(template._process.pid)
                pids |= descendants(template._process.pid)
    return pids


def _descriptors_of(drivers: Iterable[Any]) -> set[int]:
    """Return the descriptors that open pools of processes hold, but for those of their arenas."""
    found: set[int] = set()
    for driver in drivers:
        backend = driver.backend
        if not hasattr(backend, "pids"):
            continue
        for link in list(backend._links.values()):
            found.add(link.sock.fileno())
            if link.handle.sentinel is not None:
                found.add(link.handle.sentinel)
        # A pool that idles out is closed by its own thread while we look: each is read once.
        selector, template, lifeline = backend._selector, backend._template, backend._lifeline
        if selector is not None:
            with suppress(ValueError):  # closed meanwhile
                found.add(selector.fileno())
        found.update(end.fileno() for end in backend._wakers or ())
        if template is not None:
            found.add(template.sock.fileno())
        if lifeline is not None:
            found |= {lifeline.end, lifeline._ours}
        large = driver._large
        if large is not None:
            found.add(large.segment.fd)
    return found


def _arenas_of(drivers: Iterable[Any]) -> int:
    """Return how many workers of open pools share memory with us: a descriptor each, of mmap's."""
    return sum(len(getattr(driver.backend, "_links", ())) for driver in drivers)


@dataclass(frozen=True)
class Leftovers:
    """What belongs to this process at a moment."""

    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]
    shared_memory: frozenset[str]
    pools: tuple[Any, ...]  # drivers of pools that are open: those of a class or module

    @classmethod
    def now(cls) -> Self:
        """Take stock."""
        shm = Path("/dev/shm")
        # Semaphores are not what this library makes: they are of some other program.
        names = os.listdir(shm) if shm.exists() else []
        return cls(
            frozenset(descendants()),
            frozenset(threading.enumerate()),
            frozenset(_descriptors().items()),
            frozenset(name for name in names if not name.startswith("sem.")),
            tuple(_open_pools()),
        )

    def left(self, warm: bool, limit: float = 10.0) -> list[str]:
        """Return what is there now and was not then, once it has had time to go.

        Args:
            warm: whether shared pools, and those that were open then, may hold some of it.
            limit: seconds after which what is still there is left behind.
        """
        deadline = time.monotonic() + limit
        while (left := self._left(warm)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return left

    def _left(self, warm: bool) -> list[str]:
        now = Leftovers.now()
        new = now.processes - self.processes
        threads = now.threads - self.threads
        descriptors = now.descriptors - self.descriptors
        # The timers of pytest-timeout and of the watchdog in conftest are of the running test.
        threads = frozenset(t for t in threads if not isinstance(t, Timer))
        meant = [*_shared_pools(), *(driver for driver in self.pools if not driver.closed)]
        if warm and meant:
            new -= _pids_of(meant)
            threads = frozenset(t for t in threads if not t.name.startswith("pmap-"))
            known = _descriptors_of(meant)
            descriptors = frozenset(d for d in descriptors if d[0] not in known)
            shared = {d for d in now.descriptors if d[1].startswith("/memfd:pmap")}
            arenas = {d for d in shared if d[0] not in known}
            if len(arenas) <= _arenas_of(_open_pools()):
                descriptors -= shared
        return [
            *(f"process {describe_process(pid)}" for pid in sorted(new)),
            *(f"thread {thread!r} at {_where(thread)}" for thread in threads),
            *(f"descriptor {number}: {target}" for number, target in sorted(descriptors)),
            *(f"shared memory {name}" for name in now.shared_memory - self.shared_memory),
        ]


# --- marks in files: what began, how often, and who waits for whom -----------------------------


def mark(folder: str, name: object) -> None:
    """Note in `folder` that `name` happened; one write, so that no two can mix."""
    fd = os.open(os.path.join(folder, "marks"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{name}\n".encode())
    finally:
        os.close(fd)


def marks(folder: str | Path) -> list[str]:
    """Return what was noted in `folder`, in order."""
    try:
        return Path(folder, "marks").read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def wait_for_file(path: str | Path) -> None:
    """Return when `path` exists."""
    until(lambda: os.path.exists(path), f"{path} appearing")


# --- functions for workers ---------------------------------------------------------------------


def square(x: int) -> int:
    """Return x * x."""
    return x * x


def work_pid(_: object = None) -> int:
    """Return the id of the process this runs in."""
    return os.getpid()


def all_workers_at_once(folder: str, workers: int) -> int:
    """Return this process's id when as many workers are in here as there should be."""
    mark(folder, os.getpid())
    until(lambda: len(set(marks(folder))) >= workers, "all workers coming")
    return os.getpid()


# --- ways for an item to end ---------------------------------------------------------------------


class Bare(BaseException):
    """Neither an error nor anything that the interpreter knows."""


class TwoArguments(Exception):
    """Its __init__ takes other arguments than it passes on."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class KeywordOnly(Exception):
    """Its __init__ wants keywords, which pickle does not give."""

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class HoldsLock(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class ReduceRaises(Exception):
    """Its own pickling fails."""

    def __reduce__(self) -> Never:
        raise RuntimeError("no reduce")


class ExitsWhileLoading(Exception):
    """Loading it raises SystemExit, everywhere."""

    def __reduce__(self) -> tuple[object, ...]:
        return sys.exit, (5,)


class DiesWhileLoading(Exception):
    """Loading it ends the process, everywhere but at home."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (6,)


class Loading:
    """An object that calls a function of one argument when it is loaded."""

    def __init__(self, function: Callable[[Any], object], argument: object) -> None:
        self.parts = function, (argument,)

    def __reduce__(self) -> tuple[Callable[[Any], object], tuple[object, ...]]:
        return self.parts

    def __repr__(self) -> str:
        return f"Loading({self.parts[0].__name__})"


class CannotPickle:
    """An argument or result whose pickling raises."""

    def __reduce__(self) -> Never:
        raise RuntimeError("no reduce")

    def __repr__(self) -> str:
        return "CannotPickle()"


class RaisesWhileLoading:
    """An object that raises when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return raise_lookup, ("cannot load",)

    def __repr__(self) -> str:
        return "RaisesWhileLoading()"


def raise_lookup(text: str) -> Never:
    """Raise a LookupError."""
    raise LookupError(text)


def quietly(act: Callable[[], object]) -> Callable[[], object]:
    """Return `act` without the stack dump that faulthandler would write."""

    def run() -> object:
        faulthandler.disable()
        return act()

    return run


def kill_me(number: int) -> None:
    """Send this process a signal, and wait for it to strike."""
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE)


def segfault() -> None:
    """Read where nothing is."""
    import ctypes

    ctypes.string_at(0)


def cancelled() -> Never:
    """Raise what a cancelled task raises; asyncio is only imported for that."""
    from asyncio import CancelledError

    raise CancelledError("now")


def recurse(depth: int = 0) -> int:
    """Never return."""
    return recurse(depth + 1) + 1


def deep(levels: int) -> list[object]:
    """Return a list too deep to pickle."""
    nest: list[object] = []
    for _ in range(levels):
        nest = [nest]
    return nest


def chatter(size: int) -> Iterator[int]:
    """Yield: a generator cannot be pickled."""
    yield from range(size)


def raising(kind: type[BaseException], *args: object, **kwargs: object) -> Callable[[], Never]:
    """Return a function that raises a new exception of this kind."""

    def act() -> Never:
        raise kind(*args, **kwargs)

    return act


def _caused() -> Never:
    try:
        raise_lookup("inner")
    except LookupError as error:
        raise ValueError("outer") from error


# What the item does, by name: the table travels as a module, not in the call.
ACTS: Final[dict[str, Callable[[], object]]] = {
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "SIGKILL": lambda: kill_me(signal.SIGKILL),
    "SIGTERM": lambda: kill_me(signal.SIGTERM),
    "segfault": quietly(segfault),
    "abort": quietly(os.abort),
    "sys.exit": lambda: sys.exit(3),
    "KeyboardInterrupt": raising(KeyboardInterrupt, "now"),
    "GeneratorExit": raising(GeneratorExit, "now"),
    "bare": raising(Bare, "now"),
    "StopIteration": raising(StopIteration, "now"),
    "StopAsyncIteration": raising(StopAsyncIteration, "now"),
    "cancelled": cancelled,
    "result lock": threading.Lock,
    "result generator": lambda: chatter(3),
    "result reduce": CannotPickle,
    "result deep": lambda: deep(100_000),
    "result loads": RaisesWhileLoading,
    "result exits": lambda: Loading(sys.exit, 5),
    "error lock": raising(HoldsLock),
    "error reduce": raising(ReduceRaises, "here"),
    "error exits": raising(ExitsWhileLoading, "here"),
    "error dies": raising(DiesWhileLoading, "here"),
    "two arguments": raising(TwoArguments, 404, "not found"),
    "keyword only": raising(KeywordOnly, code=7),
    "caused": _caused,
    "recursion": recurse,
    "huge": raising(ValueError, "x" * 3_000_000),
}


def perform(folder: str, item: tuple[int, object]) -> object:
    """Note that the item began; do its act, if it has one; else return the square of its index."""
    index, act = item
    mark(folder, index)
    return ACTS[act]() if isinstance(act, str) else index * index


def perform_and_wait(folder: str, item: tuple[int, object]) -> object:
    """As `perform`, but the act "wait" waits to be killed."""
    index, act = item
    if act != "wait":
        return perform(folder, item)
    mark(folder, index)
    time.sleep(2 * PATIENCE)
    raise AssertionError("nobody came")


def wait_and_square(folder: str, go: str, x: int) -> int:
    """Square, once the file `go` is there."""
    mark(folder, f"w{x}")
    wait_for_file(go)
    return x * x


def bad_start(act: str, folder: str) -> None:
    """Go wrong, unless the file says that all is well now."""
    mark(folder, act)
    if not os.path.exists(os.path.join(folder, "well")):
        ACTS[act]()


class BadFunction:
    """A function that cannot travel, or dies when it arrives."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, x: int) -> int:
        return x

    def __reduce__(self) -> tuple[object, ...]:
        if self.how == "pickling":
            raise RuntimeError("no reduce")
        return {"raising": int, "dying": os._exit}[self.how], (
            {"raising": "no number", "dying": 9}[self.how],
        )


@contextmanager
def changed_directory(path: Path) -> Generator[None]:
    """Be in `path` for a while."""
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)
