"""Ctrl-C at every point where it can strike: the call ends, and the pool goes on.

The interpreter looks for signals when a function is entered, when a call has returned and at the
end of a loop. A trace function counts these points in pmap's own code, and raises
`KeyboardInterrupt` at one of them. Some are chosen each time; ``PMAP_INTERRUPTS=1`` takes them all,
which takes minutes.
"""

import dis
import faulthandler
import gc
import math
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.limits import TIME_LIMIT, seconds, until
from tests.scripts import environment

import pmap
from pmap import Pool, gather, papply, pstarmap
from pmap import pmap as map_
from pmap._api.shared_pools import make_driver, shared_pools
from pmap._calls.call import Call, Kind

if TYPE_CHECKING:
    from _typeshed import TraceFunction

    from pmap._types import Backend

ALL: Final = os.environ.get("PMAP_INTERRUPTS") == "1"
POINTS: Final = 20  # of each act
HANGS: Final = 1200 if ALL else 180  # after so many seconds: then it shows where
OURS: Final = str(Path(pmap.__file__).parent)
LOOP: Final = dis.opmap["JUMP_BACKWARD"]
CALLS: Final = {code for name, code in dis.opmap.items() if name.startswith("CALL")}

waiters: list[threading.Thread] = []
verb = papply.using(processes=1)
mapping = map_.using(processes=1)


class Interrupt:
    """Counts the points that this thread passes in code of `file`, and strikes at one of them."""

    def __init__(self, at: int, file: str = OURS) -> None:
        self.at = at
        self.file = file
        self.passed = 0
        self.where = ""

    def run(self, act: Callable[[], object]) -> object:
        """Return what `act` returns; raises what it raises."""
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            return act()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, arg: object) -> "TraceFunction | None":
        if not frame.f_code.co_filename.startswith(self.file) or self.where:
            return None
        self._pass(frame)
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, arg: object) -> "TraceFunction":
        if event == "opcode" and not self.where and _looks(frame.f_code.co_code, frame.f_lasti):
            self._pass(frame)
        return self._step

    def _pass(self, frame: FrameType) -> None:
        self.passed += 1
        if self.passed == self.at:
            self.where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
            raise KeyboardInterrupt


def _looks(code: bytes, at: int) -> bool:
    """Return whether the interpreter looks for signals just before the instruction at `at`."""
    if code[at] == LOOP:
        return True
    at -= 2
    while at >= 0 and code[at] == 0:  # inline caches
        at -= 2
    return at >= 0 and code[at] in CALLS


# --- what is interrupted -------------------------------------------------------------------------


def fails() -> list[float]:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative input"):  # by version
        mapping(math.sqrt, [4.0, -1.0])
    return []


def cancels() -> None:
    later = verb.async_(abs, -1)
    later.cancel()
    assert isinstance(later.exception(), pmap.CancelledError | None)


def shared() -> int:
    later = verb.async_(abs, -2)
    # It waits for what this thread may settle.
    waiter = threading.Thread(target=later.wait, daemon=True)
    waiters.append(waiter)
    waiter.start()
    gathered = gather(later, verb.async_(abs, -3))
    waiters.append(threading.Thread(target=gathered.wait, daemon=True))
    waiters[-1].start()
    return verb(abs, -1)


def pool() -> list[int]:
    with pmap.Pool(1) as own:
        return own.map(abs, [-1, -2])


def closed_pool() -> list[int]:
    own = pmap.Pool(1)
    later = own.map_async(abs, [-1, -2])
    own.close()
    own.join()
    return later.get()


ACTS: Final[dict[str, Callable[[], object]]] = {
    "call": lambda: verb(abs, -1),
    "asynchronous call": lambda: verb.async_(abs, -1).get(),
    "map": lambda: mapping(abs, [-1, -2, -3]),
    "map of many": lambda: mapping(abs, range(1000)),
    "starmap": lambda: pstarmap.using(processes=1)(pow, [(2, 3), (3, 2)]),
    "by value": lambda: mapping(lambda x: x + 1, [1, 2]),
    "large": lambda: mapping(len, [bytes(1 << 21)] * 2),
    "stream": lambda: list(mapping.iter(abs, [-1, -2, -3])),
    "unordered stream": lambda: list(mapping.iter_unordered(abs, [-1, -2, -3])),
    "failure": fails,
    "failures as values": lambda: mapping.collecting(math.sqrt, [-1.0, 4.0]),
    "time limit": lambda: mapping.using(timeout=TIME_LIMIT)(abs, [-1, -2]),
    "retries": lambda: mapping.collecting.using(retries=1)(math.sqrt, [-1.0, 4.0]),
    "cancel": cancels,
    "gather": lambda: gather(verb.async_(abs, -1), verb.async_(abs, -2)).get(),
    "several who wait": shared,
    "then": lambda: verb.async_(abs, -1).then(abs).get(),
    "serial": lambda: map_(abs, [-1, -2], backend="serial"),
    "threads": lambda: map_(abs, [-1, -2], backend="threads", processes=1),
    "pool": pool,
    "closed pool": closed_pool,
}
SLOW: Final = {"pool": 4, "closed pool": 4, "large": 2}  # times fewer points


def interrupted(act: Callable[[], object], at: int) -> Interrupt:
    """Let Ctrl-C strike at a point of `act`; return what is known of it."""
    interrupt = Interrupt(at)
    try:
        interrupt.run(act)
    except KeyboardInterrupt:
        assert interrupt.where
    return interrupt


def is_well() -> None:
    """Check that the pool works, for this thread and others, and that nobody keeps anything."""
    driver, _ = shared_pools.driver_for(verb._settings)
    while waiters:
        waiter = waiters.pop()
        if waiter.ident is not None:
            waiter.join(TIME_LIMIT)
            assert not waiter.is_alive()
    assert verb.async_(abs, -3).get(TIME_LIMIT) == 3
    results: list[int] = []
    other = threading.Thread(target=lambda: results.append(verb(abs, -4)), daemon=True)
    other.start()
    other.join(TIME_LIMIT)
    assert results == [4]
    assert verb(abs, -5) == 5
    state = driver._state
    rest: list[Any] = [state.leader, state.jobs, state.inbox, state.over]
    until(lambda: not any(rest), "nothing being left")
    assert not state.lock.locked()


# A program of its own: what the kernel made just before Ctrl-C struck, and nobody has yet, stays
# until the end of the process; and finalisers that it strikes in show it on stderr.
@pytest.mark.limit(HANGS + 120)
@pytest.mark.parametrize("name", ACTS)
def test_wherever_it_strikes_the_pool_goes_on(name: str) -> None:
    code = f"from {__name__} import sweep; sweep({name!r})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        check=False,
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds(HANGS + 60),
    )
    assert done.returncode == 0, done.stderr


def sweep(name: str) -> None:
    """Let Ctrl-C strike at points of an act, and check each time that the pool goes on."""
    faulthandler.dump_traceback_later(seconds(HANGS), exit=True)
    act = ACTS[name]
    # The first one makes what is kept; and from Python 3.13 on, code is traced when it runs again.
    interrupted(act, 0)
    points = interrupted(act, 0).passed
    assert points > 30
    some: Sequence[int] = range(1, points + 1)
    if not ALL:
        some = sorted(random.sample(some, min(points, POINTS // SLOW.get(name, 1))))
    struck = 0
    for at in some:
        interrupt = interrupted(act, at)
        gc.collect()  # a pool that was not closed is closed by this
        struck += bool(interrupt.where)
        try:
            is_well()
        except BaseException as error:
            error.add_note(f"struck at point {at} of {points}: {interrupt.where}")
            raise
    assert struck  # not each time: it may take another way, and pass fewer points


@pytest.mark.parametrize("backend", ["serial", "threads"])
def test_what_had_happened_when_it_struck_and_the_pool_is_ended(backend: "Backend") -> None:
    # Nobody took it in yet, and it is of a worker that is gone by then.
    settings = map_.using(backend=backend, processes=1)._settings
    driver = make_driver(settings.worker)
    call = Call("pmap", abs, Kind.EACH, [-1, -2])
    polls: list[object] = []
    poll = driver.backend.poll

    def struck(timeout: float | None) -> object:
        polls.append(poll(timeout))
        if len(polls) > 1:
            driver.backend.poll = poll  # type: ignore[method-assign]  # as it was
            raise KeyboardInterrupt
        return polls[0]

    driver.backend.poll = struck  # type: ignore[method-assign]  # Ctrl-C right behind it
    with pytest.raises(KeyboardInterrupt):
        driver.run(call)
    driver.terminate()
    driver.join()
    assert not driver._state.scheduler.busy


def looped() -> int:
    total = 0
    for _ in range(2):
        total += abs(-1)
    return total


def test_the_points_are_found() -> None:
    # Its entry and `range`, and twice `abs` and the end of the loop.
    Interrupt(0, __file__).run(looped)
    for at in range(7):
        interrupt = Interrupt(at, __file__)
        with pytest.raises(KeyboardInterrupt) if at else nullcontext():
            assert interrupt.run(looped) == 2
        assert interrupt.passed == (at or 6)
        assert bool(interrupt.where) == bool(at)


def test_ctrl_c_while_the_background_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    class Struck(threading.Thread):
        def start(self) -> None:
            super().start()
            raise KeyboardInterrupt

    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    with Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
        with monkeypatch.context() as patched:
            patched.setattr(threading, "Thread", Struck)
            with pytest.raises(KeyboardInterrupt):
                pool.apply_async(abs, (-2,))
        assert pool.apply_async(abs, (-3,)).get(TIME_LIMIT) == 3
    assert not failures
