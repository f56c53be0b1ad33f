"""The engine backend: an executor or cluster of the program runs chunks of items as tasks.

What the scheduler calls a worker is here a *slot*: the right to have one task at the engine. The
engine chooses where a task runs. So a slot is ready at once, holds one chunk at a time, and cannot
give anything back.

The place where a task runs is called a node. There the task calls a function `run`: see the module
`_api.node`.
"""

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

from ..._calls.engine_options import kills, slots_of
from ..._errors import is_ctrl_c
from ..._jobs.item_errors import INITIALIZER, settle
from ..._jobs.notifier import Notifier
from ..._jobs.reports import Report
from ..._jobs.work import CallSpec, Work
from ..._transport.by_value.picklers import Whole
from ..._transport.packing import packed
from ..._transport.protocol import WARNING
from ..._transport.values import dumps
from ..._types import AppliesAsync, Engine
from ..capacity import CapacityChanged
from ..in_process import run_chunk
from ..protocol import (
    Backend,
    BackendEvent,
    ResultsArrived,
    WorkerEnded,
    WorkerStarted,
)
from . import marks, wire
from .answers import opened
from .large import LargeData
from .tasks import Held, submitted, submitted_live

if TYPE_CHECKING:
    from ..._transport.packing import Packed
    from .shipping import Shipment

# The interval, in seconds, at which the backend asks the engine how many tasks it runs at the same
# time.
_ASK: Final = 1.0
# The overhead (seconds that a chunk takes beside those of its items) is measured from this many of
# the last chunks.
_MEASURED: Final = 16


class _Sent:
    """A chunk of items that the engine has got and not finished."""

    def __init__(self, work: Work, start: int, stop: int) -> None:
        self.work = work
        self.start = start
        self.stop = stop
        self.future: Future[bytes] | Future[ResultsArrived] | None = None
        self.at = monotonic()  # the time at which the engine got the chunk
        self.waits = False  # whether the chunk may have to wait for a worker of the engine
        self.chunk = b""  # bytes that identify the task; empty if it runs in this process
        self.discarded = False  # whether nobody wants the results of the chunk any more


class _Slot:
    def __init__(self) -> None:
        self.sent: _Sent | None = None
        self.ending = False  # whether the slot ends when its present chunk is finished
        self.knows: set[bytes] = set()  # the keys of large data that this slot has sent to a node


_Done = tuple[int, _Sent]


class EngineBackend(Backend[deque[_Done]]):
    """Gives chunks of items to an engine as tasks, and returns events about them."""

    packs = True

    def __init__(
        self,
        engine: Engine | AppliesAsync,
        run: Callable[..., bytes],
        inner: wire.InnerOptions | None,
        live: bool,
        slots: int,
        asks: bool,
        shipment: "Shipment | None" = None,
    ) -> None:
        """Make the backend; the engine has no task yet.

        Args:
            engine: the program's executor.
            run: the function that a task calls on its node.
            inner: the options of the workers that pmap starts on a node; None: it starts none.
            live: whether items run in threads of this process, without being pickled.
            slots: how many slots there may be.
            asks: whether the engine is asked now and then how many slots there may be.
            shipment: the packages that travel to the nodes; None: none do.
        """
        self._engine = Held(engine)
        bare = inner is None and not live
        self.can_kill: bool = kills(engine, False if bare else None if live else True)
        self._watch = _packed_method(engine, "watch")
        once = getattr(engine, "once", False) is True
        self._claim = b"" if once else _packed_method(engine, "claim")
        self._run = run
        self._shipment = shipment
        self._large = LargeData()
        self._inner = inner
        # The hosts that could not start an inner worker, of which the program was warned.
        self._bare_hosts: set[str] = set()
        self._live = live
        self._host = wire.host_name()
        self._slots: dict[int, _Slot] = {}
        # The pickled descriptions of the calls in progress, by the number of the call spec.
        self._specs: dict[int, tuple[bytes, bytes]] = {}
        # Random bytes that distinguish the calls of this backend from the calls of other backends.
        self._name = os.urandom(8)
        self._chunks = count()
        # `_told` has the events of slots that ended by themselves, and `_done` the chunks that are
        # done, until `collect` returns them. Only callbacks of futures append to `_done`, in any
        # thread.
        self._told: deque[BackendEvent | CapacityChanged] = deque()
        self._done: deque[_Done] = deque()
        self._notifier = Notifier()
        self._woken = False
        # Why the engine has refused a task: in words, and the exception. None: it takes tasks.
        # After a refusal no further task is tried until the calls in progress are over.
        self._refused: tuple[str, Exception | None] | None = None
        # How many slots there may be, whether the engine is asked for that number now and then, and
        # when it was asked last.
        self._limit = slots
        self._asks = asks and callable(getattr(engine, "slots", None))
        self._asked = monotonic()
        # For each of the last chunks, the seconds that it took beside those of its items; and the
        # overhead that the scheduler was told.
        self._overheads: deque[float] = deque(maxlen=_MEASURED)
        self._overhead = 0.0

    # --- preparing calls -----------------------------------------------------------------------

    def pack(self, work: Work) -> None:
        self._engine.keep()
        self._ask_slots()
        if self._live:
            return
        spec = work.pack_whole()
        rules = work.call.rules
        function = spec.payload.head
        assert isinstance(function, bytes), "a call for an engine is pickled in one piece"
        task_spec = wire.TaskSpec(
            (function, spec.variables, not rules.collect, rules.functions_by_value, rules.seed),
            spec.environment,
            rules.timeout,
            rules.logs,
            self._host,
            os.getpid(),
            marks.folder(),
            self._watch,
            self._claim,
            self._inner,
        )
        key = self._name + spec.number.to_bytes(8, "big")
        self._specs[spec.number] = key, wire.packed_spec(task_spec)

    def drop(self, spec: CallSpec) -> None:
        key, _ = self._specs.pop(spec.number, (b"", b""))
        self._large.forget(key)

    def on_idle(self) -> None:
        self._refused = None
        # The engine's handles of large data may refer to the engine. So they are dropped, too:
        # between calls pmap does not keep the engine alive.
        self._large.forget_all()
        self._engine.let_go()

    # --- commands to the backend ---------------------------------------------------------------

    def workers(self) -> dict[int, int | None]:
        return dict.fromkeys(self._slots.copy())

    def start(self, worker: int) -> None:
        if self._refused is None:
            self._slots[worker] = _Slot()
            self._tell(WorkerStarted(worker, can_reclaim_chunks=False))
        else:
            reason, cause = self._refused
            self._tell(WorkerEnded(worker, begun=0, reason=reason, cause=cause, hopeless=True))

    def _ask_slots(self) -> None:
        """Ask the engine now and then how many tasks it runs: its machines come and go."""
        if not self._asks or monotonic() < self._asked + _ASK:
            return
        try:
            limit = slots_of(self._engine.keep(), None, self._live)
        except Exception:  # the engine has no machine, or cannot tell how many tasks it runs
            limit = self._limit
        self._asked = monotonic()  # read after the question: the engine may be slow to answer
        if limit != self._limit:
            self._limit = limit
            self._tell(CapacityChanged(limit, self._overhead))

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        slot = self._slots[worker]
        slot.sent = sent = _Sent(work, start, stop)
        # There are more slots than the engine has workers (see `slots_of`), so a chunk may wait for
        # a worker. The waiting time does not count as overhead: if it did, chunks would become
        # longer, and so would the waiting time.
        sent.waits = 3 * sum([1 for other in self._slots.values() if other.sent]) > 2 * self._limit
        self._submit(worker, slot, sent)

    def _submit(self, worker: int, slot: _Slot, sent: _Sent, again: bool = False) -> None:
        """Give the engine a chunk; `again` if a node has said that it lacks data of the chunk."""
        try:
            future: Future[bytes] | Future[ResultsArrived]
            if self._live:
                future = self._submit_live(worker, sent)
            else:
                future = submitted(self._engine.keep(), self._run, self._task(slot, sent, again))
        # The engine is shut down or broken, or its own code has raised the exception.
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            slot.sent = None
            slot.ending = True
            self._refuse(worker, f"the engine takes no task: {error!r}", error)
            return
        sent.future = future
        future.add_done_callback(partial(_note, self._done, self._notifier, (worker, sent)))

    def _submit_live(self, worker: int, sent: _Sent) -> Future[ResultsArrived]:
        work, start = sent.work, sent.start
        items = work.call.items[start : sent.stop]
        wanted = lambda: not sent.discarded  # noqa: E731
        run = partial(run_chunk, worker, work, start, items, wanted, [])
        return submitted_live(self._engine.keep(), run)

    def _task(self, slot: _Slot, sent: _Sent, again: bool) -> tuple[object, ...]:
        """Return the arguments of the function that runs a chunk on its node."""
        spec = sent.work.spec
        assert spec is not None, "the call was packed"
        key, data = self._specs[spec.number]
        engine = self._engine.keep()
        call = self._large.carried(engine, slot.knows, key, data, again)
        items, pickled = self._packed_items(sent.work, sent.start, sent.stop)
        # The number makes each task different, because some engines run equal tasks only once.
        sent.chunk = chunk = self._name + next(self._chunks).to_bytes(8, "big")
        task = wire.packed_task(wire.Task(chunk, key, call.data, sent.start, pickled, items))
        if self._shipment is None:
            return (task,) if call.handle is None else (task, call.handle)
        name, archive = self._shipment.key.encode(), self._shipment.archive
        packages = self._large.carried(engine, slot.knows, name, archive, again)
        return task, call.handle, packages.handle if packages.data is None else packages.data

    @staticmethod
    def _packed_items(work: Work, start: int, stop: int) -> "tuple[Packed, bool]":
        """Return items in the form in which they are sent, and whether each item is pickled."""
        items: Sequence[object] = work.call.items[start:stop]
        plain = packed(items)
        if plain is not None:
            return plain, False
        pickles: list[bytes] = []
        role = Whole()
        for index, item in enumerate(items, start):
            try:
                pickles.append(dumps(item, role=role))
            # To pickle an item runs the user's code, which may raise any exception.
            except BaseException as error:
                work.note_unsent(index, item, error)
                pickles.append(b"")
        return pickles, True

    def discard(self, worker: int, work: Work) -> None:
        sent = self._slots[worker].sent
        if sent is not None and sent.work is work:
            sent.discarded = True
            if sent.future is not None and not self._engine.has_cancelled(sent.future):
                self._mark(sent)

    def _mark(self, sent: _Sent) -> None:
        """Make the file that tells a node to end a chunk, unless running items may go on."""
        if self._inner is not None and sent.future is not None and sent.work.call.rules.kill:
            marks.mark(marks.path_of(marks.folder(), sent.chunk), sent.future)

    def stop(self, worker: int) -> None:
        self._slots[worker].ending = True
        self._tell(WorkerEnded(worker, begun=0))

    def kill(self, worker: int) -> None:
        slot = self._slots.get(worker)
        if slot is None or slot.ending:
            return
        if slot.sent is None or slot.sent.future is None:
            self.stop(worker)
            return
        slot.ending = slot.sent.discarded = True
        if not self._engine.has_cancelled(slot.sent.future):
            self._mark(slot.sent)
            self._engine.kill(slot.sent.future)

    # --- events of the backend -----------------------------------------------------------------

    def _tell(self, event: BackendEvent | CapacityChanged) -> None:
        self._told.append(event)
        self.wake()  # this wakes a thread that waits in `poll`, which then sees the event

    def _refuse(self, worker: int, reason: str, error: BaseException | None) -> None:
        cause = None if error is None else settle(error, INITIALIZER)
        self._refused = reason, cause
        self._tell(WorkerEnded(worker, begun=0, reason=reason, cause=cause, hopeless=True))

    def poll(self, timeout: float | None) -> deque[_Done]:
        self._notifier.wait(self._is_something, timeout)
        self._woken = False
        return self._done

    def _is_something(self) -> bool:
        return self._woken or bool(self._done) or bool(self._told)

    def collect(self, polled: deque[_Done]) -> Iterator[BackendEvent | CapacityChanged]:
        # If `polled` is not the present queue, all tasks were ended since the poll, and their
        # events are dropped.
        while polled is self._done and (polled or self._told):
            if not self._told:
                self._ask_slots()
                worker, sent = polled.popleft()
                slot = self._slots.get(worker)
                if slot is not None and slot.sent is sent:
                    slot.sent = None
                    self._finish(worker, slot, sent)
            elif isinstance(event := self._told.popleft(), WorkerEnded):
                # The slot is removed only now: until the engine's loop knows that the slot has
                # ended, commands may name it.
                self._slots.pop(event.worker, None)
                yield event
            else:
                yield event

    def _finish(self, worker: int, slot: _Slot, sent: _Sent) -> None:
        """Handle the end of the task that ran a chunk."""
        future = sent.future
        assert future is not None
        number = sent.stop - sent.start
        error = _error_of(future)
        if slot.ending:
            self._told.append(WorkerEnded(worker, begun=number))
        elif future.cancelled() and sent.discarded:
            self._told.append(ResultsArrived(worker, sent.work, sent.start, [], {}, True, 0.0))
        elif error is not None:
            # Large data that pmap has shared by the engine may be lost with their node. So they are
            # shared anew for later chunks.
            self._large.forget_all()
            slot.ending = True
            reason = f"the engine lost the task: {error!r}"
            cause = settle(error, INITIALIZER)
            begun = 0 if future.cancelled() else number
            self._told.append(WorkerEnded(worker, begun=begun, reason=reason, cause=cause))
        else:
            result = future.result()
            if isinstance(result, ResultsArrived):
                self._told.append(result)
            else:
                self._take(worker, slot, sent, wire.opened_answer(result))

    def _take(self, worker: int, slot: _Slot, sent: _Sent, answer: wire.Answer) -> None:
        """Handle the answer that a node has sent."""
        lacks = answer.kind in (wire.UNKNOWN, wire.MISSING)
        if sent.discarded and (lacks or answer.kind in (wire.ENDED, wire.REPEATED)):
            self._told.append(ResultsArrived(worker, sent.work, sent.start, [], {}, True, 0.0))
        elif lacks:
            # The node did not have the description of the call, or the packages, so no item of the
            # chunk has begun. The chunk is sent again, with both, to whichever node the engine
            # chooses.
            slot.sent = again = _Sent(sent.work, sent.start, sent.stop)
            self._submit(worker, slot, again, again=True)
        elif answer.kind == wire.UNSTARTED:
            slot.ending = True
            why = None if answer.cause is None else pickle.loads(answer.cause)
            self._refuse(worker, f"on {answer.host}, {answer.reason}", why)
        elif answer.kind in (wire.ENDED, wire.REPEATED):
            slot.ending = True
            reason = f"the engine ended the task on {answer.host}"
            if answer.kind == wire.REPEATED:
                reason = (
                    "the engine lost the task after it had begun, and gave it to "
                    f"{answer.host}, where it was not run again"
                )
            begun = sent.stop - sent.start
            self._told.append(WorkerEnded(worker, begun=begun, reason=reason))
        else:
            if not (sent.waits or answer.cold):
                self._measure(monotonic() - sent.at - answer.elapsed)
            if answer.reason:
                self._warn(worker, answer)
            self._told.append(opened(worker, sent.work, sent.start, answer))

    def _warn(self, worker: int, answer: wire.Answer) -> None:
        """Warn once for each host that items run in the engine's own worker there."""
        if answer.host in self._bare_hosts:
            return
        self._bare_hosts.add(answer.host)
        text = (
            f"no worker process of pmap can be started on {answer.host}: {answer.reason}. The "
            "items run in the engine's own worker there: an item that crashes ends that worker, "
            "and an item that runs cannot be ended. inner_worker=False does the same without this "
            "warning, inner_worker=True makes it an error"
        )
        # The thread that runs this code holds a lock, and a warning may run code of the program. So
        # the warning goes the way of an item's warning, which is shown when the lock is free.
        data = dumps((RuntimeWarning(text), RuntimeWarning, "pmap", 1))
        self._told.append(Report(WARNING, data, worker, None, None))

    def _measure(self, overhead: float) -> None:
        """Measure the overhead of a chunk; tell the scheduler if the overhead has changed much."""
        self._overheads.append(max(0.0, overhead))
        quartile = sorted(self._overheads)[len(self._overheads) // 4]
        if not 0.8 * self._overhead <= quartile <= 1.25 * self._overhead:
            self._overhead = quartile
            self._told.append(CapacityChanged(self._limit, quartile))

    def wake(self) -> None:
        self._woken = True
        self._notifier.notify()

    def end(self) -> None:
        for slot in self._slots.values():
            if slot.sent is not None and slot.sent.future is not None:
                slot.sent.discarded = True
                if not self._engine.has_cancelled(slot.sent.future):
                    self._mark(slot.sent)
        self._slots.clear()
        self._told.clear()
        self._specs.clear()
        self._large.forget_all()
        # tasks that still run add to the old queue, which nobody reads any more
        self._done = deque()

    def after_fork_in_child(self) -> None:
        self._slots.clear()


def _packed_method(engine: object, name: str) -> bytes:
    """Return the function `name` of an engine as a pickle; empty if the engine has none."""
    function: object = getattr(engine, name, None)
    return dumps(function, role=Whole()) if callable(function) else b""


def _note(done: deque[_Done], notifier: Notifier, what: _Done, _future: object) -> None:
    done.append(what)
    notifier.notify()


def _error_of(future: Future[bytes] | Future[ResultsArrived]) -> BaseException | None:
    """Return the exception with which a future has ended; None if the future has a result."""
    if future.cancelled():
        from concurrent.futures import CancelledError

        return CancelledError("the engine cancelled the task")
    return future.exception()
