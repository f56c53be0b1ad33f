"""Schedulers in a known state, and events for them."""

from pmap._scheduling.commands import Command
from pmap._scheduling.events import Event, ItemsFinished, JobSubmitted, Prestart, WorkerReady
from pmap._scheduling.prefetch import PREFETCH_BELOW
from pmap._scheduling.run_rules import RunRules
from pmap._scheduling.scheduler import Scheduler

QUICK = PREFETCH_BELOW / 100
SLOW = PREFETCH_BELOW * 100
MANY = 20  # items in a chunk, enough for their cost to be trusted


def submitted(
    job: int,
    size: int,
    chunksize: int | None = 1,
    *,
    collect: bool = False,
    stop: bool = False,
    open: bool = False,
) -> JobSubmitted:
    return JobSubmitted(job, size, RunRules(chunksize, collect, stop), open)


def done(worker: int, *failed: int, count: int = 1, elapsed: float = SLOW) -> ItemsFinished:
    return ItemsFinished(worker, count, failed, elapsed, last=True)


def tell(scheduler: Scheduler, *events: Event) -> list[Command]:
    """Return what the last of `events` is answered with."""
    answer: list[Command] = []
    for event in events:
        answer = scheduler.handle(event)
    return answer


def pool(
    workers: int,
    limit: int | None = None,
    can_kill: bool = True,
    can_reclaim_chunks: bool = True,
    can_reclaim_items: bool = False,
) -> Scheduler:
    """Return a scheduler whose first `workers` workers are ready."""
    scheduler = Scheduler(limit or workers, can_kill=can_kill)
    tell(
        scheduler,
        Prestart(),
        *[WorkerReady(one, can_reclaim_chunks, can_reclaim_items) for one in range(workers)],
    )
    return scheduler
