"""A pool with nothing in it: simulated workers that obey a real `Scheduler`; what may happen to it.

What workers tell stands in their outboxes until it is delivered, so that the scheduler is always a
little behind: that is where the races are. The clock moves when a worker needs time for what it
does, and when nothing else can happen until the scheduler's alarm.

`model` is what there is, `workers` what workers do, `driver` what is told to the scheduler and what
comes of its commands, `checks` what must hold. Here are the moves: what callers do, and how time
passes.
"""

from collections.abc import Mapping
from math import inf
from typing import Final

from pmap._scheduling.commands import Command, ReclaimChunks
from pmap._scheduling.events import (
    Close,
    InputArrived,
    InputEnded,
    JobCancelled,
    JobSubmitted,
    JobWithdrawn,
    Prestart,
    Renew,
    Retire,
    Terminate,
    Tick,
)
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.workers import MAX_START_FAILURES

from . import checks, workers
from .driver import Driver
from .model import Doom, Fate, Job, Model, Worker

_STEPS: Final = 50_000  # moves after which a world that is to come to its end never will


class World:
    """A scheduler, its workers and its jobs; every method is a thing that may happen.

    Attributes:
        model: what there is.
        driver: the scheduler, and what it was told and said.
    """

    def __init__(
        self,
        limit: int,
        max_chunks: int | None = None,
        can_kill: bool = True,
        *,
        wears: bool = False,
        punctual: bool = False,
        can_reclaim_chunks: bool = True,
    ) -> None:
        """Make a world with no workers yet; see `Model` for what it can be like."""
        self.model = Model(limit, max_chunks, can_kill, wears, punctual, can_reclaim_chunks)
        self.driver = Driver(self.model)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.driver.log))

    # --- what callers do -------------------------------------------------------------------------

    def submit(
        self,
        size: int,
        chunksize: int | None = None,
        *,
        collect: bool = False,
        stop: bool = False,
        open: bool = False,
        at_once: bool = False,
        dooms: Mapping[int, Doom] | None = None,
        timeout: float | None = None,
        retries: tuple[float, ...] = (),
        retry_lost: bool = True,
        retry_overdue: bool = True,
        like: int | None = None,
        function: int | None = None,
    ) -> Job:
        """Submit a job; one that is `open` has only its first items."""
        model = self.model
        assert not model.closed, "the driver takes no work once it is closed"
        dooms = dooms or {}
        if timeout is None:  # nobody would ever end what hangs
            dooms = {item: doom for item, doom in dooms.items() if doom.fate is not Fate.HANGS}
        about = (timeout, retries, retry_lost, retry_overdue)
        number = len(model.jobs)
        job = Job(number, size, chunksize, collect, stop, open, open, at_once, dooms, *about)
        model.jobs[job.id] = job
        model.start_failures = 0
        terms = RunRules(chunksize, collect, stop, *about, at_once)
        self.driver.tell(JobSubmitted(job.id, size, terms, open, like, function))
        return job

    def feed(self, job: Job, items: int) -> None:
        """Add at least one item to the input of a job; it is ignored if that wants no more."""
        ignored = not job.takes_more
        if not ignored:
            job.size += items
        answer = self.driver.tell(InputArrived(job.id, items))
        if ignored:
            checks.unwanted_input_changes_nothing(answer)

    def end_input(self, job: Job) -> None:
        """End the input of a job; it is ignored if that wants no more already."""
        ignored = not job.takes_more
        job.open = False
        answer = self.driver.tell(InputEnded(job.id))
        if ignored:
            checks.unwanted_input_changes_nothing(answer)

    def cancel(self, job: Job, kill: bool = True) -> None:
        """Cancel a job; nothing comes of it if that is over."""
        if job.over is None:
            job.cancelled = True
            job.stop = kill
        self.driver.tell(JobCancelled(job.id, kill))
        if not kill:
            assert job.over is not None, "a job is waited for that may run on unheard"

    def withdraw(self, job: Job) -> None:
        """Cancel a job if nothing of it has begun, and see that it is if nobody has it."""
        was_over, was_cancelled = job.over, job.cancelled
        unsent = not job.given and not job.retried and not job.finished
        self.model.withdrawing = job
        answer = self.driver.tell(JobWithdrawn(job.id))
        self.model.withdrawing = None
        if was_over is not None:
            assert job.over is was_over
            checks.unwanted_input_changes_nothing(answer)
        elif unsent:
            assert job.cancelled, "nobody has it, and it goes on"
        assert was_cancelled or not (job.cancelled and job.begun), "it had begun"

    def end_workers(self) -> None:
        """End all workers, and see that nobody is spared; what has not begun is cancelled."""
        model = self.model
        model.closed = model.terminated = model.ended = True
        self.driver.tell(Terminate(lose=True))
        assert all(w.killed for w in model.workers.values()), "a worker is not killed"
        for job in model.open_jobs():
            assert model.holders(job), "nobody has it, and it goes on"

    def prestart(self) -> None:
        """Ask for all workers, and see that they come."""
        self.driver.tell(Prestart())
        if self.model.start_failures < MAX_START_FAILURES:
            assert len(self.model.workers) == self.model.limit

    def retire(self) -> None:
        """Let the idle workers go, and see that they are told."""
        there = self.model.workers.values()
        unused = not self.model.open_jobs()
        go = [w for w in there if w.idle or (unused and not w.holds)]
        stay = [w for w in there if w.holds and not w.leaving]
        self.driver.tell(Retire())
        assert all(worker.leaving for worker in go), "an idle worker stays"
        assert not any(worker.leaving for worker in stay), "a worker goes that has work"

    def renew(self) -> None:
        """Have all workers replaced, and see that the idle ones go."""
        there = self.model.workers.values()
        go = [w for w in there if not w.holds]
        for worker in there:
            worker.renewed = True
        self.driver.tell(Renew())
        assert all(worker.leaving for worker in go), "an idle worker stays"

    def close(self) -> None:
        """Close the pool."""
        self.model.closed = True
        self.driver.tell(Close())

    def terminate(self) -> None:
        """Terminate the pool, and see that nobody is spared."""
        model = self.model
        model.closed = model.terminated = True
        for job in model.open_jobs():
            job.cancelled = job.stop = True
        self.driver.tell(Terminate())
        assert all(w.killed for w in model.workers.values()), "a worker is not killed"
        if not model.can_kill:
            assert not model.open_jobs()

    # --- how time passes -------------------------------------------------------------------------

    def step(self, worker: Worker) -> None:
        """Let a worker do the next thing, and the clock move on if that needs time."""
        model, running = self.model, worker.running
        if running is None:
            workers.go_on(model, worker)
            return
        if running.waits:
            return
        if model.punctual and running.ends > model.now and self._hear():
            return
        alarm = self.driver.scheduler.alarm if model.punctual else None
        if alarm is not None and alarm <= running.ends:
            self.tick(wait=True)  # nobody misses his time here
            return
        workers.pass_time(model, running.ends)
        if worker.running is running and not worker.dead and running.ends <= model.now:
            workers.go_on(model, worker)

    def _hear(self) -> bool:
        """Tell the scheduler all that workers have to tell; return whether there was anything."""
        heard = False
        for worker in list(self.model.workers.values()):
            while worker.outbox:
                heard = True
                self.driver.deliver(worker)
        return heard

    def tick(self, wait: bool) -> bool:
        """Tell the scheduler that its time has come; return whether it has.

        Args:
            wait: whether to let time pass until then.
        """
        model, scheduler = self.model, self.driver.scheduler
        alarm = scheduler.alarm
        if alarm is None or (alarm > model.now and not wait):
            return False
        workers.pass_time(model, alarm)
        if model.punctual:  # all that was said by now is heard before, as the driver does it
            self._hear()
        for job in model.open_jobs():
            job.release(model.now)
        answer: list[Command] = self.driver.tell(Tick())
        if not any(
            isinstance(command, ReclaimChunks) for command in answer
        ):  # one of them at a time
            checks.no_tick_is_wanted_twice(model, scheduler.alarm)
        return True

    def advance(self, tape: bytes) -> None:
        """Let a byte's worth of things happen for each byte of `tape`."""
        model = self.model
        for byte in tape:
            what = byte >> 4
            if what in (4, 12):
                self.tick(wait=what == 12)
            movable = [w for w in model.workers.values() if workers.can_move(model, w)]
            if not movable:
                if self.tick(wait=True):
                    continue
                return
            worker = movable[(byte & 0x0F) % len(movable)]
            if what == 15:
                workers.die(worker)
            elif worker.outbox and (worker.dead or what < 6):
                self.driver.deliver(worker)
            elif worker.dead:
                continue
            elif what == 14:
                workers.flush(worker)
            elif worker.doomed and model.can_kill and what & 1:
                workers.die(worker)
            else:
                self.step(worker)
                while what > 10 and workers.can_end_item(worker):
                    self.step(worker)

    def run_out(self, starts_fail: bool = False) -> None:
        """Let everything happen that is under way, with workers that behave from now on.

        Args:
            starts_fail: whether those that are not ready, and all later ones, die at their start.
        """
        model = self.model
        for _ in range(_STEPS):
            moved = self.tick(wait=False)
            next = inf  # when an item ends
            for worker in list(model.workers.values()):
                if worker.id not in model.workers or not workers.can_move(model, worker):
                    continue
                running = worker.running
                if worker.outbox:
                    self.driver.deliver(worker)
                elif (starts_fail and not worker.up) or (worker.doomed and model.can_kill):
                    workers.die(worker)
                elif running is not None and running.ends > model.now:
                    next = min(next, running.ends)
                    continue
                else:
                    self.step(worker)
                moved = True
            if not moved and next < inf:
                alarm = self.driver.scheduler.alarm
                workers.pass_time(model, next if alarm is None else min(next, alarm))
            elif not moved and not self.tick(wait=True):
                return
        raise AssertionError("it never comes to an end")

    def end(self, starts_fail: bool, ending: bool | None) -> None:
        """Let everything come to its end, and check that nothing is left of it.

        Args:
            starts_fail: as for `run_out`.
            ending: what becomes of jobs that are open at the end: their input is ended (None), or
                they are cancelled, and what runs is killed or not.
        """
        model = self.model
        self.run_out(starts_fail)
        for job in model.open_jobs():
            assert job.takes_more, "only a job whose input was not ended waits for ever"
            if ending is None:
                self.end_input(job)
            else:
                self.cancel(job, ending)
            assert job.over is not None, "there was nothing left of it to wait for"
        self.run_out(starts_fail)
        assert not model.open_jobs()
        self.close()
        self.run_out(starts_fail)
        assert not model.workers
        assert not self.driver.scheduler.busy
        checks.nothing_is_kept_of_what_is_over(model, self.driver.scheduler)
