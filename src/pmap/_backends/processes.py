"""Worker processes, each behind a socket of its own.

Nothing is shared between workers, so one that dies holds nothing up, and the caller always knows
which items each one holds. What a dead worker had finished is read from its result journal.

==================  ================================================================================
`process_starter`   starts their processes
`worker_setup`      tells each of them what it needs before its first chunk
`chunk_sender`      sends them chunks
`connection`        one worker: what it was sent, what it holds, what came from it
`unanswered`        gives up what was started and does not answer
==================  ================================================================================
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from .._calls.cpus import cpu_count
from .._errors import is_ctrl_c
from .._jobs.reports import Report
from .._jobs.work import CallSpec, Work
from .._transport import protocol
from .._transport.adaptive_spin import AdaptiveSpin
from .._transport.by_value.baseline import Baseline
from .._transport.by_value.handover import NamelessError
from .._transport.by_value.sent_names import SentNames
from .._transport.environment import capture_environment
from .._transport.framing import frame
from .._transport.segment_pool import KEPT
from . import boot as _boot
from . import launch as _launch
from .chunk_sender import ChunkSender
from .connection import Connection
from .connection_states import HUNG_UP, LEAVING, READY
from .poller import READABLE, WRITABLE, Poller, Watched
from .process_starter import ProcessStarter
from .protocol import Backend, BackendEvent, WorkerEnded
from .template_client import Template
from .ties import identity_of
from .unanswered import Unanswered
from .worker_setup import WorkerSetup, why_unsent

if TYPE_CHECKING:
    from .._transport.environment import Limits
    from .outbox import Outbox


_Polled: TypeAlias = "list[tuple[Watched[Connection | Template | None], int]]"


class ProcessBackend(Backend[_Polled]):
    """Starts worker processes, sends them chunks and tells what came of it."""

    can_kill = True
    runs_in_poll = False

    def __init__(
        self,
        start_method: str | None,
        processes: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[object, ...],
        max_memory: int | None = None,
        kill_over_memory: bool = False,
        limits: Limits = ({}, {}),
        main: str = "value",
    ) -> None:
        """Start nothing yet.

        Args:
            start_method: how processes begin; None: the platform's default, or a fork where the
                initializer can only be inherited.
            processes: how many workers there will be at most.
            initializer: what each worker calls first; None: nothing.
            initargs: its arguments.
            max_memory: bytes that a worker may take; None: any.
            kill_over_memory: whether a worker that takes more is killed at once.
            limits: environment variables of workers.
            main: "import": workers import the script; "value": they are sent what items need of it.
        """
        self._is_chosen = start_method is not None
        self._imports_main = main == "import"
        self._cpus = cpu_count()
        # Bytes of segments that a worker may keep. None where its memory is counted: segments are.
        room = KEPT // processes if max_memory is None else 0
        self._setup = WorkerSetup(
            initializer,
            initargs,
            max_memory,
            kill_over_memory,
            limits,
            may_spin=self._cpus > 1,
            room=room,
        )
        self._unanswered: Unanswered[Connection | Template] = Unanswered()
        method = start_method or _boot.default_start_method()
        self._starter = ProcessStarter(method, self._unanswered)
        self.start_method: str | None = method
        self._chunks = ChunkSender(self._setup.limited)
        self._names = SentNames(method == "fork", imports=self._imports_main)
        self.sent_names: SentNames | None = self._names
        self.has_cache: bool = False
        self._connections: dict[int, Connection] = {}
        self._to_flush: dict[int, Outbox] = {}
        self._failed: list[BackendEvent] = []  # the ends of workers that could not be started
        self._poller: Poller[Connection | Template] | None = None
        self._opening = threading.Lock()
        self._spin = AdaptiveSpin()

    def workers(self) -> dict[int, int | None]:
        return {number: one.handle.pid for number, one in self._connections.copy().items()}

    def identity(self, worker: int) -> tuple[tuple[int, ...], str]:
        connection = self._connections.get(worker)
        slot = 1 if connection is None else connection.slot
        return identity_of(slot, self._starter.method)[:2]

    def finished_ahead(self, number: int) -> int:
        connections = [*self._connections.values()]
        return sum([connection.held.finished_ahead(number) for connection in connections])

    # --- starting ------------------------------------------------------------------------------

    def check(self) -> None:
        if self._imports_main:
            from .main_module import main_to_import

            self._setup.script = main_to_import()
        try:
            self._setup.packed_initializer(self._starter.method, self._names)
        except BaseException as error:  # whatever the pickling of its own objects does
            if is_ctrl_c(error):
                raise
            if isinstance(error, NamelessError) and not self._is_chosen and hasattr(os, "fork"):
                # Locks that are made for forks, by a program that does not say how workers are to
                # begin: multiprocessing would fork here, too.
                self._starter.method = self.start_method = "fork"
                self.sent_names = self._names = SentNames(True, imports=self._imports_main)
                return
            why = why_unsent(error)
            raise self._setup.refusal(why) from why

    def start(self, worker: int) -> None:
        try:
            self._start(worker)
        except Exception as error:  # no memory, no processes, no descriptors left
            cause = error
            reason = f"the initializer could not be sent: {error}"
            if isinstance(error, OSError):
                reason = _launch.refused(error)
            hopeless = isinstance(error, OSError) and error.errno in _launch.NO_PROGRAM
            ended = WorkerEnded(worker, begun=0, reason=reason, cause=cause, hopeless=hopeless)
            self._failed.append(ended)
            self.wake()  # another thread may be in `poll`

    def _start(self, worker: int) -> None:
        method = self._starter.method
        initializer = self._setup.packed_initializer(method, self._names)
        environment = self._setup.limited(capture_environment())
        baseline = Baseline(method == "fork")  # before a fork: that is to have the same
        poller = self._open()
        script = None if self._setup.script is None else self._setup.script.now()
        process = self._starter.start(
            worker,
            poller,
            self._setup.for_fork(initializer),
            script,
            lambda script: self._setup.about_import(method, environment, script),
        )
        taken = {connection.slot for connection in self._connections.values()}
        connection = self._connections[worker] = Connection(
            worker,
            next(slot for slot in count(1) if slot not in taken),
            process,
            baseline,
            environment,
            self._chunks.lent_segments(),
            poller,
            self._to_flush,
        )
        if method == "spawn":
            self._unanswered.add(connection)
        self._setup.send(connection, method, environment, initializer)

    # --- commands ------------------------------------------------------------------------------

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        dead = self._names.dead  # units that nothing refers to any more
        if dead:
            numbers = {dead.pop() for _ in range(len(dead))}  # there may be more at any time
            for connection in self._connections.values():
                connection.definitions.forget_units(numbers)
        self._chunks.send(self._connections[worker], work, start, stop, step)
        self.has_cache = self.has_cache or self._chunks.has_lent

    def discard(self, worker: int, work: Work) -> None:
        self._connections[worker].discard(work)

    def is_outdated(self, spec: CallSpec) -> bool:
        if self._connections and self._starter.identity != _launch.identity():
            return True
        if self._starter.method != "fork":
            return False
        connections = [*self._connections.values()]
        return any(one.definitions.baseline.lacks(spec.needs) for one in connections)

    def renew(self) -> None:
        self._starter.renew()

    def drop(self, spec: CallSpec) -> None:
        for connection in self._connections.values():
            connection.definitions.drop(spec)

    def on_idle(self) -> None:
        # Only a thread could give it back later, and there had better be none where this process
        # is forked.
        if self._starter.method == "fork":
            self.release_cache()

    def release_cache(self) -> None:
        if self.has_cache:
            self._release_segments()
            for connection in self._connections.values():
                if connection.reader.borrows:
                    connection.reader.borrows = False
                    connection.outbox.write(frame(protocol.make_back(None)))

    def _release_segments(self) -> None:
        self.has_cache = False
        self._chunks.release_segments(self._connections.values())

    def stop(self, worker: int) -> None:
        self._connections[worker].stop()

    def kill(self, worker: int) -> None:
        if worker in self._connections:
            self._connections[worker].handle.kill()

    def abort(self, worker: int) -> None:
        if worker in self._connections:
            self._connections[worker].handle.abort()

    def terminate(self, worker: int) -> None:
        if worker in self._connections:
            connection = self._connections[worker]
            connection.handle.terminate()
            connection.stop()  # it may ignore the signal

    def begun(self, worker: int) -> int:
        return self._connections[worker].held.begun()

    def check_deadline(self, worker: int, limit: float) -> tuple[float, bool] | None:
        connection = self._connections.get(worker)
        return None if connection is None else connection.held.check_deadline(limit)

    def reclaim(self, worker: int) -> tuple[int, int | None]:
        return self._connections[worker].held.reclaim()

    def flush(self) -> None:
        while self._to_flush:
            self._to_flush.popitem()[1].flush()

    # --- events --------------------------------------------------------------------------------

    def poll(self, timeout: float | None) -> _Polled:
        if self._failed:
            timeout = 0
            if self._poller is None:
                return []  # it may be the poller that could not be opened
        poller = self._poller or self._open()
        if self._unanswered.since:
            timeout = self._unanswered.seconds_left(timeout)
        template = self._starter.template
        if template is not None and template.threads > 1:
            _launch.warn_of_threads(template.threads)
        try:
            # A new object each time: one that is kept would be a circle with this one.
            waits = timeout is None or timeout > 0
            spin = partial(self._spin.awake, self._may_spin) if waits else None
            return poller.poll(timeout, spin)
        except (OSError, ValueError):
            if self._poller is poller:
                raise
            return []  # a signal's handler has forked this process, which has no workers now

    def _may_spin(self) -> bool:
        """Return whether a worker holds a chunk, and there is a processor that no worker needs."""
        # A copy: this thread does not hold the lock of the state, and another one may start a
        # worker meanwhile.
        busy = sum([1 for one in [*self._connections.values()] if one.held.chunks])
        return 0 < busy < self._cpus

    def collect(self, polled: _Polled) -> Iterator[BackendEvent]:
        failed, self._failed = self._failed, []
        yield from failed
        for watched, event in polled:
            source = watched.source
            if isinstance(source, Connection):
                if self._connections.get(source.number) is not source:
                    continue  # it ended since it was polled
                if event & WRITABLE:
                    source.outbox.flush()
                if event & READABLE:
                    yield from self._receive(source)
                    if source.state == HUNG_UP or watched.end is not source.sock:
                        yield from self._end(source)
            elif source is None:
                if self._poller is not None:
                    self._poller.quiet()
            elif self._starter.has(source):
                yield from self._read_template(source)
        if self._unanswered.since:
            yield from self._give_up_overdue()

    def _receive(self, connection: Connection, to_the_end: bool = False) -> Iterator[BackendEvent]:
        reader = connection.reader
        for event in connection.receive(to_the_end):
            # Before the event is told: what follows from it may be that the cache is released.
            self.has_cache = self.has_cache or reader.borrows
            yield event
        self.has_cache = self.has_cache or reader.borrows

    def _read_template(self, template: Template) -> Iterator[BackendEvent]:
        ended = self._starter.read(template)
        for kind, data in template.reports:
            yield Report(kind, data, 1, None, None)
        template.reports.clear()
        for number in ended:
            if number in self._connections:
                yield from self._end(self._connections[number])
        if not template.alive:
            # Workers that have hung up were waiting for its report of their ends.
            for connection in [*self._connections.values()]:
                if connection.state == HUNG_UP:
                    yield from self._end(connection)
            self._starter.drop(template)

    def _give_up_overdue(self) -> Iterator[BackendEvent]:
        for late in self._unanswered.take_overdue():
            late.give_up(_launch.not_in_time(self._unanswered.limit))
            if isinstance(late, Connection):  # the end of a template shows at its socket
                yield from self._end(late)

    def _end(self, connection: Connection) -> Iterator[BackendEvent]:
        """Tell that a worker has ended, or is of no use any more, once its exit code is known."""
        ended, exitcode = connection.handle.reap()
        if not ended:
            return  # the template reports the end in a moment
        # All that it wrote is in the socket by now, also what came after the last read; the end of
        # the stream may not be, if something that it started holds its end open.
        yield from self._receive(connection, to_the_end=True)
        connection.hang_up()
        begun, salvaged = connection.held.salvage()
        if salvaged:
            yield connection.held.finish(salvaged, False, 0.0)
        del self._connections[connection.number]
        is_interpreter = self._starter.method == "spawn"
        oversize = self._setup.too_much_memory()
        last = connection.last_event(begun, exitcode, is_interpreter, oversize)
        connection.close()
        self._unanswered.discard(connection)
        yield last

    # --- opening and closing -------------------------------------------------------------------

    def _open(self) -> Poller[Connection | Template]:
        # `poll` comes here without the driver's lock, while a command may, too.
        with self._opening:
            if self._poller is None:
                self._poller = Poller()
            return self._poller

    def wake(self) -> None:
        poller = self._poller
        if poller is not None:
            poller.wake()

    def _close_poller(self) -> None:
        # First out of sight, then closed: another thread finds none, never a closed one.
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.close()

    @property
    def is_open(self) -> bool:
        return self._poller is not None

    def close(self) -> None:
        self._names.clear()
        self._release_segments()
        self._starter.close_templates()
        self._starter.close_lifelines()
        self._close_poller()

    def has_lost_descriptors(self) -> bool:
        poller = self._poller
        # Another thread may close the poller at this moment: it removes it from here before.
        return poller is not None and poller.has_lost_descriptors() and self._poller is poller

    def let_go(self) -> None:
        for connection in self._connections.values():
            if connection.state == READY and not connection.held.chunks:
                connection.let_go()

    def is_left(self) -> bool:
        return any(LEAVING in (one.state, one.reached) for one in self._connections.values())

    def end(self) -> None:
        self._release_segments()
        if self.has_lost_descriptors():
            # What has such a number by now is not ours to close. An object that would close one by
            # itself is kept as long as the program lives.
            self._names.clear()
            poller, self._poller = self._poller, None
            if poller is not None:
                poller.abandon()
            for connection in self._connections.values():
                connection.abandon()
            self._starter.abandon()
        else:
            for connection in self._connections.values():
                connection.handle.kill()
            self._starter.close_templates()  # each ends its workers before itself
            for connection in self._connections.values():
                connection.hang_up()
                connection.handle.reap()
                connection.close()
            self._starter.close_lifelines()
        self._connections.clear()
        self._to_flush.clear()
        self._failed.clear()
        self._unanswered.since.clear()
        self.wake()  # another thread may be in `poll`, on what is gone now

    def after_fork_in_child(self) -> None:
        self._opening = threading.Lock()  # it may be held by a thread that is not here
        self._release_segments()
        for connection in self._connections.values():
            connection.after_fork_in_child()
        self._connections.clear()
        self._unanswered.since.clear()
        self._starter.after_fork_in_child()
        self._close_poller()
