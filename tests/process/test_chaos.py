"""Random maps from several threads, while workers and templates are killed, stopped and continued.

Whatever happens, each call ends in time in the right results or an honest error; no function starts
more often than it may, counted outside the processes that run it; each blow costs one item at most;
and nothing is left.

`PMAP_CHAOS` says for how many seconds: ten, or ten minutes before a release::

    PMAP_CHAOS=600 python -m pytest -s tests/process/test_chaos.py

The seed is printed, and `PMAP_SEED` gives it: the same maps in each thread, though not the same
moments.
"""

import faulthandler
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import TimeoutError as ResultTimeoutError
from pathlib import Path
from typing import Final, Self, TypeVar

import pytest
from tests.leaks import Leftovers, end_shared_pools, show_pools
from tests.limits import seconds, until
from tests.process.chaos_calls import TIMEOUT, Call, draw, errors_of, judge, judge_starts
from tests.process.chaos_items import do, do_row, value_of
from tests.processes import describe_process, end_with_stacks, our_processes

from pmap import (
    AsyncResult,
    Failure,
    Options,
    Pool,
    ResultStream,
    WorkerLost,
    papply,
    pmap,
    pstarmap,
)

SECONDS: Final = float(os.environ.get("PMAP_CHAOS", "10"))
THREADS: Final = 4
LIMIT: Final = seconds(120)  # within which each call ends, with the machine as busy as it is
R = TypeVar("R")

# --- asking --------------------------------------------------------------------------------------


def ask(rng: random.Random, call: Call, worker: Options) -> None:
    """Make the call; keep what comes of it."""
    try:
        if call.form.startswith("apply"):
            _apply(rng, call, worker)
        else:
            _map(rng, call, worker)
    except ResultTimeoutError:
        raise  # not of a call
    except Exception as error:
        call.error = error


def _apply(rng: random.Random, call: Call, worker: Options) -> None:
    verb = papply.using(**worker).using(**call.options)
    if call.form == "apply":
        call.answers[0] = verb(do, call.path, call.kind, call.plan, index=0)
    else:
        handle = verb.async_(do, call.path, call.kind, plan=call.plan, index=0)
        call.answers[0] = _get(rng, call, handle)


def _get(rng: random.Random, call: Call, handle: AsyncResult[R]) -> R:
    if call.leave:
        handle.wait(rng.choice((0.0, 0.001, 0.02, 0.1)))
        call.left = handle.cancel()
    return handle.get()


def _map(rng: random.Random, call: Call, worker: Options) -> None:
    indexes = range(call.size) if rng.random() < 0.5 else list(range(call.size))
    if call.form == "call":
        call.answers.update(enumerate(_list(call, worker, indexes)))
    elif call.form == "async":
        call.answers.update(enumerate(_get(rng, call, _handle(call, worker, indexes))))
    else:
        with _stream(call, worker, indexes) as stream:
            most = rng.randrange(call.size + 1) if call.leave else call.size
            for index, answer in _taken(call, stream, most):
                assert index not in call.answers
                call.answers[index] = answer


def _list(call: Call, worker: Options, indexes: Sequence[int]) -> Sequence[object]:
    if call.star:
        starmap = pstarmap.using(**worker).using(**call.options)
        rows = ((index, 2 * index) for index in indexes)
        g = partial(do_row, call.path, call.kind, call.plan)
        return starmap.collecting(g, rows) if call.collecting else starmap(g, rows)
    verb = pmap.using(**worker).using(**call.options)
    f = partial(do, call.path, call.kind, call.plan)
    return verb.collecting(f, indexes) if call.collecting else verb(f, indexes)


def _handle(call: Call, worker: Options, indexes: Sequence[int]) -> AsyncResult[list[object]]:
    if call.star:
        starmap = pstarmap.using(**worker).using(**call.options)
        rows = ((index, 2 * index) for index in indexes)
        g = partial(do_row, call.path, call.kind, call.plan)
        return starmap.collecting.async_(g, rows) if call.collecting else starmap.async_(g, rows)
    verb = pmap.using(**worker).using(**call.options)
    f = partial(do, call.path, call.kind, call.plan)
    return verb.collecting.async_(f, indexes) if call.collecting else verb.async_(f, indexes)


def _stream(call: Call, worker: Options, indexes: Sequence[int]) -> ResultStream[object]:
    verb = pmap.using(**worker).using(**call.options)
    f = partial(do, call.path, call.kind, call.plan)
    if call.form == "iter":
        return verb.collecting.iter(f, indexes) if call.collecting else verb.iter(f, indexes)
    if call.collecting:
        return verb.collecting.iter_unordered(f, indexes)
    return verb.iter_unordered(f, indexes)


def _taken(call: Call, stream: ResultStream[object], most: int) -> Iterator[tuple[int, object]]:
    """Take results, `most` at most; yield each with its index."""
    indexes = {value_of(call.kind, index): index for index in range(call.size)}
    for place in range(most + 1):
        if call.leave and place == most:
            call.left = True
            return
        try:
            answer = stream.next(TIMEOUT if call.leave else None)
        except StopIteration:
            return
        except ResultTimeoutError:
            call.left = True
            return
        if call.form == "iter":
            yield place, answer
        else:
            yield answer.index if isinstance(answer, Failure) else indexes[answer], answer


# --- striking ------------------------------------------------------------------------------------


class Striker:
    """Kills, stops and continues workers of this process, and now and then their templates."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._stopped: list[tuple[float, int]] = []  # until when, and a descriptor of the process
        self._over = threading.Event()
        self.struck: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="striker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._rng.choice((0.003, 0.01, 0.03, 0.1))):
                self._continue(time.monotonic())
                self._strike()
        finally:
            self._continue(float("inf"))

    def _continue(self, now: float) -> None:
        for due, fd in self._stopped:
            if due <= now:
                self._send(fd, signal.SIGCONT)
                os.close(fd)
        self._stopped = [(due, fd) for due, fd in self._stopped if due > now]

    def _strike(self) -> None:
        templates, workers = ours()
        aims = templates if self._rng.random() < 0.1 else workers
        if not aims:
            return
        pid = self._rng.choice(sorted(aims))
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return  # it has ended
        what = "template" if pid in templates else "worker"
        # The descriptor is of one process for ever; only now is it known of which.
        if parent_of(pid) not in {os.getpid(), *templates}:
            os.close(fd)
        elif self._rng.random() < 0.5:
            self.struck[f"{what} killed"] += self._send(fd, signal.SIGKILL)
            os.close(fd)
        else:
            self.struck[f"{what} stopped"] += self._send(fd, signal.SIGSTOP)
            due = time.monotonic() + self._rng.choice((0.001, 0.02, 0.1, 0.6))
            self._stopped.append((due, fd))

    @staticmethod
    def _send(fd: int, number: signal.Signals) -> bool:
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        return True


def parent_of(pid: int) -> int:
    """Return the id of a process's parent, or 0."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def is_ours(pid: int) -> str:
    """Return as what the library started a process, "worker" or "template", or nothing."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    if not any(b"from pmap._worker.startup import main" in word for word in words):
        return ""
    return "template" if b"template" in words else "worker"


def marked(seed: str) -> list[str]:
    """Return what there is of processes that were started, or whose template was, under the seed.

    A worker whose template was killed is no descendant of anybody here any more.
    """
    found: list[str] = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if pid != os.getpid() and f"PMAP_SEED={seed}".encode() in words:
            found.append(describe_process(pid))
    return found


def ours() -> tuple[set[int], set[int]]:
    """Return the ids of the templates and of the workers of this process."""
    names = [name for name in os.listdir("/proc") if name.isdigit()]
    parents = {int(name): parent_of(int(name)) for name in names}
    children = {pid: is_ours(pid) for pid, parent in parents.items() if parent == os.getpid()}
    templates = {pid for pid, kind in children.items() if kind == "template"}
    workers = {pid for pid, kind in children.items() if kind == "worker"}
    return templates, workers | {pid for pid, parent in parents.items() if parent in templates}


# --- the test ------------------------------------------------------------------------------------


class Caller:
    """A thread that makes one random call after another."""

    def __init__(
        self, seed: str, folder: Path, workers: list[Options], enough: Callable[[], bool]
    ) -> None:
        self.calls: list[Call] = []
        self.since: float | None = None  # when the present call began
        self.failure: BaseException | None = None
        self._rng = random.Random(seed)
        self._prefix = folder / seed.replace("/", "-")
        self._workers = workers
        self._enough = enough
        self.stops = False
        self.thread = threading.Thread(target=self._run, name=f"caller {seed}", daemon=True)

    def _run(self) -> None:
        try:
            while not self.stops and not self._enough():
                self.since = time.monotonic()
                worker = self._rng.choice(self._workers)
                call = draw(self._rng, f"{self._prefix}-{len(self.calls)}", worker)
                self.calls.append(call)
                ask(self._rng, call, worker)
                judge(call)
                if call.kind == "big":
                    call.answers = {
                        i: isinstance(a, Failure) and a for i, a in call.answers.items()
                    }
        except BaseException as error:
            error.add_note(f"in {self.calls[-1]}"[:2000])
            self.failure = error
        finally:
            self.since = None

    @property
    def hangs(self) -> bool:
        """Whether its present call takes too long."""
        since = self.since
        return since is not None and time.monotonic() - since > LIMIT


def look_after(callers: list[Caller]) -> None:
    """Return when all callers are done; show where everybody is if one hangs."""
    while any(caller.thread.is_alive() for caller in callers):
        time.sleep(0.05)
        hanging = [caller for caller in callers if caller.hangs]
        if hanging:
            print("pools:", *show_pools(), sep="\n  ")
            sys.stdout.flush()
            faulthandler.dump_traceback(sys.__stderr__ or 2)
            print(*end_with_stacks(our_processes()), sep="\n\n")
            pytest.fail(f"these hang: {[str(caller.calls[-1])[:2000] for caller in hanging]}")
        if any(caller.failure for caller in callers):
            for caller in callers:
                caller.stops = True


@pytest.mark.limit(SECONDS + 240)
def test_whatever_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = os.environ.get("PMAP_SEED") or str(random.randrange(1 << 32))
    monkeypatch.setenv("PMAP_SEED", seed)
    print(f"PMAP_SEED={seed}")
    before = Leftovers.now()
    with Pool(2, maxtasksperchild=5) as pool:
        workers: list[Options] = [
            {"processes": 2},
            {"processes": 3, "max_tasks_per_child": 3},
            {"processes": 2, "isolate": True},
            {"processes": 2, "start_method": "spawn"},
            {"pool": pool},
        ]
        end = time.monotonic() + SECONDS
        striker = Striker(random.Random(f"{seed}/striker"))

        def enough() -> bool:
            # A busy machine needs longer for as many.
            calls = sum(len(caller.calls) for caller in callers)
            return (
                time.monotonic() >= end
                and calls >= SECONDS
                and striker.struck["worker killed"] >= SECONDS / 2
            )

        callers = [Caller(f"{seed}/{n}", tmp_path, workers, enough) for n in range(THREADS)]
        with striker:
            for caller in callers:
                caller.thread.start()
            look_after(callers)
    for caller in callers:
        if caller.failure is not None:
            raise caller.failure
    calls = [call for caller in callers for call in caller.calls]
    for call in calls:
        judge_starts(call)
    errors = [(call.plan.get(i), error) for call in calls for i, error in errors_of(call)]
    kinds = Counter(type(error).__name__ for _, error in errors)
    kinds.update(type(call.error).__name__ for call in calls if call.error is not None)
    print(f"{len(calls)} calls; {dict(kinds)}; {dict(striker.struck)}")
    # One blow, one item: what else is lost has ended itself.
    lost = sum(isinstance(error, WorkerLost) and act != "exit" for act, error in errors)
    assert lost <= striker.struck["worker killed"]
    assert len(calls) >= SECONDS
    assert striker.struck["worker killed"] >= SECONDS / 2
    end_shared_pools()
    left = before.left(warm=False)
    assert not left, f"{left}; pools: {show_pools()}"
    until(lambda: not marked(seed), "the end of all workers")
