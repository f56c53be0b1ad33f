"""What simulated workers do, each by itself: as `worker` does in a real process.

A worker takes messages in order, runs the items of a chunk one by one, stops at the first failure
unless failures are collected, and answers a discarded chunk with no items. Of some jobs the items
of a chunk all begin when it does, and end in order. What a worker tells stands in its outbox until
it is delivered.

An item takes some time, and some hang. A worker that is held begins nothing more, and goes when it
is asked to, or only when it is made to.
"""

from math import inf

from pmap._scheduling.events import ItemsFinished, WorkerGone, WorkerReady

from . import checks
from .model import Chunk, Discard, Fate, Job, Model, Quit, Running, Worker


def go_on(model: Model, worker: Worker) -> None:
    """Let a worker do the next thing: be ready, take a message, or end the item in hand."""
    if not worker.up:
        worker.up = True
        worker.outbox.append(
            WorkerReady(
                worker.id, worker.can_reclaim_chunks, worker.can_reclaim_items, worker.one_ahead
            )
        )
    elif worker.running is not None:
        _end_item(model, worker, worker.running)
    elif worker.killed and not model.can_kill:
        die(worker)
    elif worker.inbox:
        message = worker.inbox.popleft()
        if isinstance(message, Quit):
            die(worker)
        elif isinstance(message, Chunk):
            if Discard(message.job) in worker.inbox:
                worker.outbox.append(ItemsFinished(worker.id, 0, (), 0.0, last=True))
            else:
                worker.seen = worker.running = Running(message, message.start, message.start)
                _begin_item(model, worker, worker.running)


def _begin_item(model: Model, worker: Worker, running: Running) -> None:
    job = running.chunk.job
    hand = running.hand
    if not job.at_once or hand == running.chunk.start:  # else it began with the chunk
        if worker.held:
            running.waits = True
            return
        items = range(hand, running.chunk.stop if job.at_once else hand + 1)
        checks.begins_once(job, items)
        checks.nothing_unwanted_begins(model, worker, running)
        job.begun.update(items)
        running.since = model.now
        if job.retries:
            for item in items:
                job.begins[item] = job.begins.get(item, 0) + 1
            checks.tried_as_often_as_allowed(job, items)
    duration = _seconds(model, job, hand)
    running.ends = (running.since or 0.0) + duration
    running.took += duration


def _seconds(model: Model, job: Job, item: int) -> float:
    """Return how long the try of an item takes that begins now."""
    duration = model.duration * (item + job.begins.get(item, 0) & 3) / 2
    if job.timeout is not None:
        duration = min(duration, 0.9 * job.timeout)
        doom = job.doom(item) if job.dooms else None
        if doom is not None and doom.fate is Fate.HANGS:
            # What cannot be killed ends some day, or the pool would never be closed.
            return inf if model.can_kill else 100 * job.timeout
    return duration


def _end_item(model: Model, worker: Worker, running: Running) -> None:
    """End the item in hand, and begin the next."""
    job = running.chunk.job
    doom = job.doom(running.hand) if job.dooms else None
    fate = None if doom is None else doom.fate
    if fate is Fate.KILLS:
        die(worker)
        return
    if fate is None:
        job.succeeded.add(running.hand)
    elif fate is not Fate.HANGS:
        running.spoiled.append(running.hand)
    running.hand += 1
    asked_to_end = worker.killed and not model.can_kill
    raised = fate is Fate.RAISES and not job.collect
    replace = model.wears and (7 * running.hand + worker.id) % 5 == 0
    if running.hand == running.chunk.stop or raised or asked_to_end or replace:
        if job.at_once:
            _call_off(job, range(running.hand, running.chunk.stop))
        _report(worker, running, last=True, replace=replace)
        running.ended = True
        worker.running = None
    else:
        _begin_item(model, worker, running)


def _call_off(job: Job, items: range) -> None:
    """End items that began with their chunk: as the worker says, they count as not begun."""
    job.begun.difference_update(items)
    if job.retries:
        for item in items:
            job.begins[item] -= 1


def _report(worker: Worker, running: Running, last: bool, replace: bool = False) -> None:
    count = running.hand - running.sent
    elapsed = running.took if last else 0.0
    failed = tuple(running.spoiled)
    dooms = running.chunk.job.dooms
    again = frozenset([item for item in failed if dooms[item].again])
    event = ItemsFinished(worker.id, count, failed, elapsed, last, again, replace)
    worker.outbox.append(event)
    running.sent = running.hand
    running.spoiled.clear()


def flush(worker: Worker) -> None:
    """Let a worker send the results that it has, in the middle of its chunk."""
    if worker.running is not None and worker.running.hand > worker.running.sent:
        _report(worker, worker.running, last=False)


def die(worker: Worker) -> None:
    """End a worker, wherever it is; what it had noted is found."""
    if worker.dead:
        return
    flush(worker)
    worker.dead = True
    worker.innocent = not worker.killed
    worker.outbox.append(WorkerGone(worker.id, worker.in_hand))


def look(model: Model, worker: Worker, limit: float) -> tuple[float | None, bool]:
    """Return since when a worker runs its item, and whether it is held because of that."""
    seen = worker.seen
    # An item that is over is taken for one that runs until the next one begins.
    if seen is None or seen.chunk is not worker.holds[0] or seen.since is None:
        return None, False
    worker.held = seen.since + limit <= model.now
    return seen.since, worker.held


def reclaim(worker: Worker) -> tuple[list[Chunk], Chunk | None, int | None]:
    """Take from a worker what it has not begun.

    Returns:
        The chunks that it had not begun; the chunk that it keeps in part, or None; and how many
        items of that one it keeps, or None.
    """
    unbegun: list[Chunk] = []
    if worker.can_reclaim_chunks:
        unbegun = [chunk for chunk in worker.holds if chunk in worker.inbox]
        for chunk in unbegun:
            worker.inbox.remove(chunk)
    seen = worker.seen
    left = [chunk for chunk in worker.holds if chunk not in unbegun]
    if worker.can_reclaim_items and left and seen is not None and seen.chunk is left[-1]:
        chunk = seen.chunk
        if chunk.step and (worker.running is seen or worker.dead) and not seen.ended:
            # What is held has not begun, though it is in hand.
            items = seen.hand - chunk.start if seen.waits else chunk.kept(seen.hand)
            return unbegun, chunk, items
    return unbegun, None, None


# --- time ----------------------------------------------------------------------------------------


def is_busy(worker: Worker) -> bool:
    """Whether something will happen at a worker by itself, or when its time is over."""
    if worker.outbox or not worker.up:
        return True
    return bool(worker.killed or worker.running or worker.inbox)


def can_move(model: Model, worker: Worker) -> bool:
    """Whether something can happen at a worker without the scheduler."""
    if worker.outbox or not worker.up:
        return True
    if worker.dead:
        return False
    if worker.doomed and model.can_kill:
        return True
    if worker.running is not None:
        return not worker.running.waits and worker.running.ends < inf
    return bool(worker.inbox or (worker.killed and not model.can_kill))


def can_end_item(worker: Worker) -> bool:
    """Whether the item in hand of a worker ends some day."""
    running = worker.running
    return running is not None and not (worker.dead or running.waits or running.ends == inf)


def pass_time(model: Model, until: float) -> None:
    """Move the clock on; in a punctual world all items end that do so before."""
    while model.punctual and until > model.now:
        ends = [
            (worker.running.ends, worker.id)
            for worker in model.workers.values()
            if worker.running is not None and not worker.dead and not worker.running.waits
        ]
        first, number = min(ends, default=(inf, 0))
        if first >= until:
            break
        model.now = max(model.now, first)
        worker = model.workers[number]
        assert worker.running is not None
        _end_item(model, worker, worker.running)
    if model.now < until < inf:
        model.now = until
