"""An `Executor` beside a model of it, in orders that nobody would think of.

Each call waits for a file before it ends. So after each step the executor comes to rest: as many
calls run as there are workers, and no other begins. What every future has to say is known then.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from enum import Enum
from functools import partial
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.files import marks
from tests.gated_items import gated, reciprocal
from tests.limits import TIME_LIMIT, until

from pmap import Executor, NotPicklableError, WorkerLost
from pmap._types import Backend

EXAMPLES: Final = int(os.environ.get("PMAP_EXAMPLES", "0"))


class Fate(Enum):
    """How a call ends when it is let go."""

    RETURNS = "returns"
    RAISES = "raises"
    DIES = "dies"


class State(Enum):
    """What a call is at rest."""

    WAITS = "PENDING"
    RUNS = "RUNNING"
    GONE = "CANCELLED"
    OVER = "FINISHED"


class Entry:
    """A call, and what the model knows of it."""

    def __init__(self, name: str, fate: Fate, future: "futures.Future[str]") -> None:
        self.name = name
        self.fate = fate
        self.future = future
        self.state = State.WAITS
        self.lost = False  # its worker was killed
        self.told: list[futures.Future[str]] = []
        self.listeners = 0

    def is_told(self) -> bool:
        return len(self.told) >= self.listeners

    def listen(self) -> None:
        self.listeners += 1
        self.future.add_done_callback(self.told.append)


class ExecutorMachine(RuleBasedStateMachine):
    """Calls that are submitted, cancelled, let go and lost, up to the executor's end."""

    backend: Backend = "threads"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.entries: list[Entry] = []
        self.workers = 1
        self.closed = False  # it takes no more
        self.ended = False  # and nothing waits any more

    @initialize(workers=st.integers(1, 2))
    def begin(self, workers: int) -> None:
        self.workers = workers
        self.executor = Executor(workers, backend=self.backend)

    # --- what the model knows ------------------------------------------------------------------

    def of(self, *states: State) -> list[Entry]:
        return [entry for entry in self.entries if entry.state in states]

    def begun(self) -> dict[str, int]:
        """Return the names of what has begun, each with the process that it is in."""
        noted = [line.split(":") for line in marks(self.folder)]
        assert len({name for name, _ in noted}) == len(noted), "a call ran twice"
        return {name: int(pid) for name, pid in noted}

    def rest(self) -> None:
        """Wait until as many calls run as can, and take in which these are."""
        open_ = self.of(State.WAITS, State.RUNS)
        count = min(self.workers, len(open_))
        until(lambda: len({*self.begun()} & {entry.name for entry in open_}) >= count)
        begun = self.begun()
        for entry in open_:
            entry.state = State.RUNS if entry.name in begun else State.WAITS
        assert len(self.of(State.RUNS)) == count

    def free(self) -> bool:
        return len(self.of(State.WAITS, State.RUNS)) < self.workers

    # --- steps ---------------------------------------------------------------------------------

    @precondition(lambda self: not self.closed)
    @rule(fate=st.sampled_from(Fate), listened=st.booleans())
    def submit(self, fate: Fate, listened: bool) -> None:
        if self.backend == "threads" and fate is Fate.DIES:
            fate = Fate.RETURNS  # it would end this very process
        name = f"call{len(self.entries)}"
        future = self.executor.submit(gated, self.folder, name, fate.value)
        self.entries.append(Entry(name, fate, future))
        if listened:
            self.entries[-1].listen()
        self.rest()

    @precondition(lambda self: self.of(State.RUNS))
    @rule(which=st.integers(0, 9))
    def let_go(self, which: int) -> None:
        running = self.of(State.RUNS)
        entry = running[which % len(running)]
        with open(os.path.join(self.folder, entry.name), "w"):
            pass
        futures.wait([entry.future], TIME_LIMIT)
        entry.state = State.OVER
        self.rest()

    @precondition(lambda self: self.entries)
    @rule(which=st.integers(0, 99))
    def cancel(self, which: int) -> None:
        entry = self.entries[which % len(self.entries)]
        cancelled = entry.future.cancel()
        assert cancelled == (entry.state in (State.WAITS, State.GONE))
        if cancelled:
            entry.state = State.GONE
        self.rest()

    @precondition(lambda self: self.entries)
    @rule(which=st.integers(0, 99))
    def listen(self, which: int) -> None:
        self.entries[which % len(self.entries)].listen()

    @precondition(lambda self: self.backend == "processes" and self.of(State.RUNS))
    @rule(which=st.integers(0, 9))
    def kill_a_worker(self, which: int) -> None:
        running = self.of(State.RUNS)
        entry = running[which % len(running)]
        os.kill(self.begun()[entry.name], signal.SIGKILL)
        futures.wait([entry.future], TIME_LIMIT)
        entry.state, entry.lost = State.OVER, True
        self.rest()

    @precondition(lambda self: not self.closed and self.free())
    @rule(
        numbers=st.lists(st.integers(0, 4), max_size=7),
        chunksize=st.integers(1, 3),
        buffersize=st.none() | st.integers(1, 3),
    )
    def map(self, numbers: list[int], chunksize: int, buffersize: int | None) -> None:
        results = self.executor.map(
            reciprocal, numbers, chunksize=chunksize, buffersize=buffersize, timeout=TIME_LIMIT
        )
        good = numbers[: numbers.index(0)] if 0 in numbers else numbers
        assert [next(results) for _ in good] == [1 / x for x in good]
        with pytest.raises(ZeroDivisionError if 0 in numbers else StopIteration):
            next(results)
        assert list(results) == []

    @precondition(lambda self: not self.closed and not self.free())
    @rule(buffersize=st.none() | st.integers(1, 2))
    def map_in_vain(self, buffersize: int | None) -> None:
        names = [f"vain{n}" for n in range(4)]
        results = self.executor.map(
            partial(gated, self.folder), names, ["returns"] * 4, timeout=0, buffersize=buffersize
        )
        with pytest.raises(TimeoutError):
            next(results)
        assert list(results) == []

    # It is tried when a worker is free for it.
    @precondition(lambda self: not self.closed and self.backend == "processes" and self.free())
    @rule()
    def submit_what_cannot_be_sent(self) -> None:
        future = self.executor.submit(list, (x for x in "ab"))
        assert isinstance(future.exception(TIME_LIMIT), NotPicklableError)

    @precondition(lambda self: len(self.entries) > 3)  # a shorter life shows little
    @rule(cancel_futures=st.booleans())
    def shut_down(self, cancel_futures: bool) -> None:
        self.executor.shutdown(wait=False, cancel_futures=cancel_futures)
        self.closed = True
        if cancel_futures:
            self.all_that_wait_go()
        self.rest()

    @precondition(lambda self: len(self.entries) > 3)
    @rule(softly=st.booleans())
    def end_the_workers(self, softly: bool) -> None:
        end: Callable[[], None] = self.executor.kill_workers
        if softly:
            end = self.executor.terminate_workers
        end()
        self.closed = True
        self.all_that_wait_go()
        if self.backend == "processes":
            for entry in self.of(State.RUNS):
                entry.state, entry.lost = State.OVER, True
        futures.wait([entry.future for entry in self.of(State.GONE, State.OVER)], TIME_LIMIT)

    def all_that_wait_go(self) -> None:
        for entry in self.of(State.WAITS):
            entry.state = State.GONE

    # --- what holds at rest --------------------------------------------------------------------

    # Not after each step: a future that was asked whether it runs takes in that it does.
    @rule()
    def each_future_says_what_the_model_says(self) -> None:
        for entry in self.entries:
            future, state = entry.future, entry.state
            assert future.running() == (state is State.RUNS)
            assert future.cancelled() == (state is State.GONE)
            assert future.done() == (state in (State.GONE, State.OVER))
            words = {State.OVER: "finished", State.GONE: "cancelled", State.RUNS: "running"}
            assert f"state={words.get(state, 'pending')}" in repr(future)
            if state is State.GONE:
                with pytest.raises(futures.CancelledError):
                    future.result()
            elif state is State.OVER:
                self.assert_it_ended_as_it_was_told_to(entry)
            else:
                with pytest.raises(TimeoutError):
                    future.result(timeout=0)
            if future.done():
                until(entry.is_told)
            assert entry.told == [future] * (entry.listeners if future.done() else 0)

    def assert_it_ended_as_it_was_told_to(self, entry: Entry) -> None:
        error = entry.future.exception()
        if entry.lost or entry.fate is Fate.DIES:
            assert isinstance(error, WorkerLost)
            assert isinstance(error, BrokenProcessPool)
            assert (error.exitcode == 3) != entry.lost
        elif entry.fate is Fate.RAISES:
            assert isinstance(error, ValueError)
            assert error.args == (entry.name,)
        else:
            assert error is None
            assert entry.future.result() == entry.name

    @invariant()
    def only_what_may_begin_has_begun(self) -> None:
        may = self.of(State.RUNS, State.OVER)
        assert {*self.begun()} == {entry.name for entry in may}

    @invariant()
    def it_takes_calls_until_it_is_shut_down(self) -> None:
        if self.closed:
            with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
                self.executor.submit(abs, -1)

    @invariant()
    def waiting_tells_who_is_over(self) -> None:
        if self.entries:
            done, pending = futures.wait([entry.future for entry in self.entries], timeout=0)
            assert done == {entry.future for entry in self.of(State.GONE, State.OVER)}
            assert pending == {entry.future for entry in self.of(State.WAITS, State.RUNS)}

    def teardown(self) -> None:
        try:
            while self.of(State.RUNS):
                self.let_go(0)
            self.each_future_says_what_the_model_says()
            self.only_what_may_begin_has_begun()
        finally:
            self.executor.kill_workers()
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(("backend", "examples"), [("threads", 60), ("processes", 15)])
def test_an_executor_beside_its_model(backend: Backend, examples: int) -> None:
    machine = type("Machine", (ExecutorMachine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
