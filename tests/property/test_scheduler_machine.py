"""The scheduler in thousands of schedules that crash, fail, feed, cancel and end it, all simulated.

What must hold is written in `simulated.checks`, by which a `World` checks every command and every
state. Here are two ways to invent schedules: Hypothesis, which shrinks what it finds to a few
lines, and a plain random walk, which is quick enough for tens of thousands.

``PMAP_SCHEDULES=100000`` walks further, ``PMAP_EXAMPLES=5000`` invents more; a walk that fails
names its seed.
"""

import os
import random
from typing import Final, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.property.simulated import checks, driver
from tests.property.simulated.model import DURATIONS, Doom, Fate, dooms_of
from tests.property.simulated.workers import die
from tests.property.simulated.world import World
from tests.watched_states import transitions_of

from pmap import pmap
from pmap._scheduling import job_states, worker_states
from pmap._scheduling.commands import FailJob

WALKS: Final = int(os.environ.get("PMAP_SCHEDULES", "10000"))
EXAMPLES: Final = int(os.environ.get("PMAP_EXAMPLES", "400"))
BATCH: Final = 1000  # walks in one test, which has a time limit
LIMITS: Final = (0.001, 0.5, 3.0)  # seconds that an item may take: below and above DURATIONS
DELAYS: Final = (0.0, 0.2, 5.0)  # seconds before another try
LATER: Final = 40  # how far behind the first items of an open job those are that may end badly

# What is done to jobs that are open at the end: their input is ended (None), or they are cancelled,
# and what runs is killed or not.
Ending: TypeAlias = bool | None

chunksizes = st.none() | st.integers(1, 7)
dooms = st.builds(Doom, st.sampled_from(Fate), st.none() | st.integers(1, 3), st.booleans())
marks = st.lists(st.tuples(st.integers(0, 99), dooms), max_size=4)
retries = st.lists(st.sampled_from(DELAYS), max_size=2).map(tuple)


class SchedulerMachine(RuleBasedStateMachine):
    """A pool's life, in an order nobody would think of."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(1)
        self.starts_fail = False
        self.ending: Ending = None

    @initialize(
        limit=st.integers(1, 5),
        max_chunks=st.none() | st.integers(1, 3),
        can_kill=st.booleans(),
        starts_fail=st.booleans(),
        wears=st.booleans(),
        can_reclaim_chunks=st.booleans(),
        ending=st.none() | st.booleans(),
    )
    def open(
        self,
        limit: int,
        max_chunks: int | None,
        can_kill: bool,
        starts_fail: bool,
        wears: bool,
        can_reclaim_chunks: bool,
        ending: Ending,
    ) -> None:
        self.world = World(
            limit, max_chunks, can_kill, wears=wears, can_reclaim_chunks=can_reclaim_chunks
        )
        self.starts_fail = starts_fail
        self.ending = ending

    @precondition(lambda self: not self.world.model.closed)
    @rule(
        size=st.integers(0, 40) | st.just(100),
        chunksize=chunksizes,
        collect=st.booleans(),
        stop=st.booleans(),
        open=st.booleans(),
        at_once=st.booleans(),
        marks=marks,
        timeout=st.none() | st.sampled_from(LIMITS),
        retries=retries,
        retry_lost=st.booleans(),
        retry_overdue=st.booleans(),
        like=st.none() | st.just(0),
        function=st.none() | st.integers(0, 1),
    )
    def submit(
        self,
        size: int,
        chunksize: int | None,
        collect: bool,
        stop: bool,
        open: bool,
        at_once: bool,
        marks: list[tuple[int, Doom]],
        timeout: float | None,
        retries: tuple[float, ...],
        retry_lost: bool,
        retry_overdue: bool,
        like: int | None,
        function: int | None,
    ) -> None:
        self.world.submit(
            size,
            chunksize,
            collect=collect,
            stop=stop,
            open=open,
            at_once=at_once,
            dooms=dooms_of(size + LATER if open else size, marks),
            timeout=timeout,
            retries=retries,
            retry_lost=retry_lost,
            retry_overdue=retry_overdue,
            like=like,
            function=function,
        )

    # Also when the job is over, has failed or was not open: then nothing comes of it.
    @precondition(lambda self: self.world.model.jobs)
    @rule(which=st.integers(0, 9), items=st.integers(1, 30))
    def feed(self, which: int, items: int) -> None:
        self.world.feed(self.world.model.jobs[which % len(self.world.model.jobs)], items)

    @precondition(lambda self: self.world.model.jobs)
    @rule(which=st.integers(0, 9))
    def end_input(self, which: int) -> None:
        self.world.end_input(self.world.model.jobs[which % len(self.world.model.jobs)])

    @rule(tape=st.binary(min_size=1, max_size=60), duration=st.sampled_from(DURATIONS))
    def time_passes(self, tape: bytes, duration: float) -> None:
        self.world.model.duration = duration
        self.world.advance(tape)

    @precondition(lambda self: self.world.model.workers)
    @rule(which=st.integers(0, 4))
    def kill_from_outside(self, which: int) -> None:
        workers = list(self.world.model.workers.values())
        die(workers[which % len(workers)])

    @precondition(lambda self: self.world.model.jobs)
    @rule(which=st.integers(0, 9), kill=st.booleans())
    def cancel(self, which: int, kill: bool) -> None:
        self.world.cancel(self.world.model.jobs[which % len(self.world.model.jobs)], kill)

    @precondition(lambda self: self.world.model.jobs)
    @rule(which=st.integers(0, 9))
    def withdraw(self, which: int) -> None:
        self.world.withdraw(self.world.model.jobs[which % len(self.world.model.jobs)])

    @rule()
    def end_workers(self) -> None:
        self.world.end_workers()

    @rule()
    def everything_happens(self) -> None:
        self.world.run_out()

    @precondition(lambda self: not self.world.model.closed)
    @rule()
    def prestart(self) -> None:
        self.world.prestart()

    @rule()
    def retire(self) -> None:
        self.world.retire()

    @rule()
    def renew(self) -> None:
        self.world.renew()

    @rule()
    def close(self) -> None:
        self.world.close()

    @rule()
    def terminate(self) -> None:
        self.world.terminate()

    def teardown(self) -> None:
        self.world.end(self.starts_fail, self.ending)


def test_invented_schedules() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call,unused-ignore]
        SchedulerMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
        ),
    )


def walk(seed: int) -> None:
    """One random life of a pool; the same seed gives the same."""
    rng = random.Random(seed)
    wild = rng.random() < 0.5  # else nobody dies but by an item, and the outcome is known
    world = World(
        rng.randint(1, 5),
        rng.choice((None, None, 1, 2)),
        rng.random() < 0.7,
        wears=rng.random() < 0.2,
        punctual=not wild,
        can_reclaim_chunks=rng.random() < 0.8,
    )
    try:
        for _ in range(rng.randint(1, 8)):
            if rng.random() < 0.5:
                submit_one(world, rng)
            elif rng.random() < 0.4 and world.model.jobs:
                feed_one(world, rng)
            elif rng.random() < 0.2 and world.model.jobs:
                cancel_one(world, rng)
            elif wild and rng.random() < 0.1 and world.model.jobs:
                world.withdraw(rng.choice(list(world.model.jobs.values())))
            elif rng.random() < 0.1:
                rng.choice((world.prestart, world.retire, world.renew))()
            elif rng.random() < 0.2:
                world.run_out()
            world.model.duration = rng.choice(DURATIONS)
            world.advance(tape_of(rng, 60, wild))
        if wild and rng.random() < 0.2:
            rng.choice((world.close, world.terminate, world.end_workers))()
        ending = rng.choice((None, None, True, False))
        world.end(wild and rng.random() < 0.3, ending)
        if not wild:
            for job in world.model.jobs.values():
                checks.fails_with_the_errors_of_its_items(job)
    except BaseException as error:
        error.add_note(f"walk({seed}):\n{world}")
        raise


def walk_of_calls(seed: int) -> None:
    """Many single calls that are sent ahead behind one another, and cancelled at any moment."""
    rng = random.Random(seed)
    world = World(
        rng.randint(1, 3), can_kill=rng.random() < 0.9, can_reclaim_chunks=rng.random() < 0.9
    )
    try:
        for _ in range(30):  # their cost is known from here on
            world.submit(1, stop=True, like=1)
        world.run_out()
        for _ in range(rng.randint(3, 15)):
            for _ in range(rng.randint(0, 6)):
                if rng.random() < 0.2:
                    submit_one(world, rng)
                else:
                    world.submit(1, stop=rng.random() < 0.9, like=1)
            world.advance(tape_of(rng, 12, wild=rng.random() < 0.2))
            held = [
                c.job for w in world.model.workers.values() for c in w.holds if c.job.over is None
            ]
            if held and rng.random() < 0.5:
                world.cancel(rng.choice(held), kill=rng.random() < 0.8)
            elif held:
                world.withdraw(rng.choice(held))
        world.end(starts_fail=False, ending=True)
    except BaseException as error:
        error.add_note(f"walk_of_calls({seed}):\n{world}")
        raise


def walk_of_backlogs(seed: int) -> None:
    """Workers with much sent ahead, of which items are tried again, lost and given up."""
    rng = random.Random(seed)
    wild = rng.random() < 0.6
    world = World(
        rng.randint(1, 4), can_kill=rng.random() < 0.8, can_reclaim_chunks=rng.random() < 0.6
    )
    retries = rng.choice(((), (0.0,), (0.0, 0.2), (0.2,)))
    try:
        world.model.duration = rng.choice(DURATIONS[:3])
        for _ in range(30):  # the cost of calls is known from here on
            world.submit(1, like=1)
        world.run_out()
        for _ in range(rng.randint(2, 6)):
            submit_many(world, rng, retries)
            if rng.random() < 0.3:
                world.model.duration = rng.choice(DURATIONS)
            world.advance(tape_of(rng, rng.choice((5, 20, 60)), wild))
            if rng.random() < 0.5 and world.model.workers:
                die(rng.choice(list(world.model.workers.values())))
                world.advance(tape_of(rng, 20, wild=False))
            held = [
                c.job for w in world.model.workers.values() for c in w.holds if c.job.over is None
            ]
            if held and rng.random() < 0.4:
                world.cancel(rng.choice(held), kill=rng.random() < 0.7)
            if rng.random() < 0.1:
                world.retire()
        world.end(starts_fail=False, ending=rng.choice((None, True, False)))
    except BaseException as error:
        error.add_note(f"walk_of_backlogs({seed}):\n{world}")
        raise


def submit_many(world: World, rng: random.Random, retries: tuple[float, ...]) -> None:
    """Submit jobs of many items, and many single calls; some end badly."""
    kinds = list(Fate)
    for _ in range(rng.randint(0, 3)):
        if rng.random() < 0.5:
            size = rng.choice((20, 40, 100))
            many = [rng.randrange(size) for _ in range(rng.choice((0, 1, 3, 10)))]
            world.submit(
                size,
                rng.choice((1, 2)),
                collect=rng.random() < 0.5,
                stop=rng.random() < 0.5,
                dooms={at: Doom(rng.choice(kinds), rng.choice((None, 1, 2))) for at in many},
                timeout=rng.choice((None, None, 0.5)),
                retries=retries,
            )
            continue
        for _ in range(rng.randint(1, 25)):
            doomed = rng.random() < 0.3
            world.submit(
                1,
                stop=rng.random() < 0.9,
                dooms={0: Doom(rng.choice(kinds), rng.choice((None, 1)))} if doomed else {},
                timeout=rng.choice((None, None, None, 0.5)),
                retries=retries if rng.random() < 0.5 else (),
                like=1,
            )


def submit_one(world: World, rng: random.Random) -> None:
    """Submit a job that may be anything."""
    size = rng.choice((0, 1, rng.randint(2, 6), rng.randint(0, 40), rng.randint(50, 120)))
    kinds = list(Fate)
    open = rng.random() < 0.3
    marks: list[tuple[int, Doom]] = []
    for _ in range(rng.choice((0, 1, 1, 3))):
        doom = Doom(rng.choice(kinds), rng.choice((None, 1, 2)), rng.random() < 0.8)
        marks.append((rng.randrange(120), doom))
    world.submit(
        size,
        rng.choice((None, rng.randint(1, 7))),
        collect=rng.random() < 0.3,
        stop=rng.random() < 0.6,
        open=open,
        at_once=rng.random() < 0.3,
        dooms=dooms_of(size + LATER if open else size, marks),
        timeout=rng.choice((None, *LIMITS)),
        retries=rng.choice(((), (rng.choice(DELAYS),), (0.0, rng.choice(DELAYS)))),
        retry_lost=rng.random() < 0.8,
        retry_overdue=rng.random() < 0.8,
        like=rng.choice((None, 0)),
        function=rng.choice((None, 0, 0)),
    )


def tape_of(rng: random.Random, most: int, wild: bool) -> bytes:
    """Return a tape for the world; only a wild one has deaths that are no item's fault."""
    tape = rng.randbytes(rng.randint(0, most))
    return tape if wild else bytes(byte & 0xEF for byte in tape)


def feed_one(world: World, rng: random.Random) -> None:
    """Give a job more input, or end it: mostly one whose input was not ended."""
    jobs = [job for job in world.model.open_jobs() if job.open]
    if not jobs or rng.random() < 0.2:
        jobs = list(world.model.jobs.values())
    job = rng.choice(jobs)
    if rng.random() < 0.7:
        world.feed(job, rng.choice((1, rng.randint(2, 6), rng.randint(10, 40))))
    else:
        world.end_input(job)


def cancel_one(world: World, rng: random.Random) -> None:
    """Cancel a job, mostly one that is not over; its input may go on for a moment."""
    job = rng.choice(world.model.open_jobs() or list(world.model.jobs.values()))
    world.cancel(job, kill=rng.random() < 0.5)
    if rng.random() < 0.3:
        world.feed(job, 1)
        world.end_input(job)


@pytest.mark.parametrize("first", range(0, WALKS, BATCH))
def test_random_walks(first: int) -> None:
    pmap(walk, range(first, min(first + BATCH, WALKS)))  # on every CPU that there is


def test_random_walks_of_calls() -> None:
    pmap(walk_of_calls, range(WALKS // 5))


def test_random_walks_of_backlogs() -> None:
    pmap(walk_of_backlogs, range(WALKS // 20))


def fail_before_no_worker_can_be_started() -> None:
    """Let an item fail while an earlier one waits, for which no worker can be started then."""
    world = World(2)
    job = world.submit(2, 1, dooms={1: Doom(Fate.RAISES)})
    for worker in list(world.model.workers.values()):
        world.step(worker)
        world.driver.deliver(worker)
    (first, second) = world.model.workers.values()
    world.step(second)
    world.step(second)
    world.driver.deliver(second)
    for worker in (first, second):
        die(worker)
        world.driver.deliver(worker)
    world.end(starts_fail=True, ending=None)
    assert job.over == FailJob(job.id, cancelled=False)


def test_all_transitions_of_the_tables_are_needed() -> None:
    seen = (driver.workers_watch.seen, driver.jobs_watch.seen)
    needed = (transitions_of(worker_states), transitions_of(job_states))
    for transitions in seen:
        transitions.clear()
    fail_before_no_worker_can_be_started()
    for seed in range(400):
        walk(seed)
        walk_of_calls(seed)
        if seen == needed:
            break
    assert seen == needed
