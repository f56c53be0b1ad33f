"""The processes backend: worker processes, each with a socket of its own to the caller.

Workers share nothing with each other. So a worker that dies stops no other worker, and the caller
always knows which items each worker holds. Each worker notes its results in shared memory, the
result journal. If a worker dies, the caller reads there what the worker had finished.

==================  ================================================================================
`process_starter`   starts the worker processes
`worker_setup`      sends each worker what it needs before its first chunk
`chunk_sender`      sends chunks to workers
`connection`        is one worker as the caller sees it: its chunks, its names, its messages
`unanswered`        knows the processes that were started and do not answer
==================  ================================================================================
"""

from __future__ import annotations

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
from .._transport.environment import capture_environment, current_directory
from .._transport.framing import frame
from .._transport.segment_pool import KEPT
from . import launch as _launch
from .chunk_sender import ChunkSender
from .connection import Connection
from .connection_states import HUNG_UP, LEAVING, READY
from .poller import READABLE, WRITABLE, Poller, Watched
from .process_starter import ProcessStarter
from .protocol import Backend, BackendEvent, WorkerEnded
from .start_method import default_start_method, may_fork
from .template_client import Template
from .ties import identity_of
from .unanswered import Unanswered
from .worker_setup import WorkerSetup, why_unsent

if TYPE_CHECKING:
    from .._transport.environment import Environment, Limits
    from .outbox import Outbox


Polled: TypeAlias = "list[tuple[Watched[Connection | Template | None], int]]"


def environment_here() -> Environment:
    """Return the environment of this process as it is now."""
    return capture_environment(current_directory())


class ProcessBackend(Backend[Polled]):
    """Starts worker processes, sends chunks to them, and returns events about them."""

    can_kill = True
    runs_in_poll = False
    _starts: type[ProcessStarter] = ProcessStarter  # the class of the object that starts workers
    # Returns the environment in which a new worker begins, and runs its initializer.
    _environment: Callable[[], Environment] = staticmethod(environment_here)

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
        """Begin without any process.

        Args:
            start_method: the start method; None: the default of the platform, or a fork of the
                caller if only a fork can inherit the initializer.
            processes: how many workers there will be at most.
            initializer: the function that each worker calls first; None: no function.
            initargs: the arguments of the initializer.
            max_memory: how many bytes of memory a worker may take; None: there is no limit.
            kill_over_memory: whether a worker that takes more than `max_memory` is killed at once.
            limits: environment variables that limit the threads of libraries in workers.
            main: "import" if workers import the script; "value" if workers get the values of the
                script's names that items need.
        """
        self._is_chosen = start_method is not None
        self._imports_main = main == "import"
        self._cpus = cpu_count()
        # How many bytes of shared memory a worker may keep to use them again. If the memory of
        # workers is limited, this is 0, because this memory counts, too.
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
        method = start_method or default_start_method()
        self._starter = self._starts(method, self._unanswered)
        self.start_method: str | None = method
        self._chunks = ChunkSender(self._setup.limited)
        self._names = SentNames(method == "fork", imports=self._imports_main)
        self.sent_names: SentNames | None = self._names
        self.has_cache: bool = False
        self._connections: dict[int, Connection] = {}
        self._to_flush: dict[int, Outbox] = {}
        # The events of workers that could not be started, until `collect` returns these events.
        self._failed: list[BackendEvent] = []
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

    # --- starting workers ----------------------------------------------------------------------

    def check(self) -> None:
        if self._imports_main:
            from .main_module import main_to_import

            self._setup.script = main_to_import()
        try:
            self._setup.packed_initializer(self._starter.method, self._names)
        # To pickle the initializer runs the user's code, which may raise any exception.
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            if isinstance(error, NamelessError) and not self._is_chosen and may_fork():
                # The initializer needs locks that only forks inherit, and the program has not
                # chosen a start method. So workers are forks of the caller, as with
                # `multiprocessing` on Linux.
                self._starter.method = self.start_method = "fork"
                self.sent_names = self._names = SentNames(True, imports=self._imports_main)
                return
            why = why_unsent(error)
            raise self._setup.refusal(why) from why

    def start(self, worker: int) -> None:
        try:
            self._start(worker)
        # Any exception may come, for example because the system has no memory, no process or no
        # descriptor left.
        except Exception as error:
            cause = error
            reason = f"the initializer could not be sent: {error}"
            if isinstance(error, OSError):
                reason = _launch.refused(error)
            hopeless = isinstance(error, OSError) and error.errno in _launch.NO_PROGRAM
            ended = WorkerEnded(worker, begun=0, reason=reason, cause=cause, hopeless=hopeless)
            self._failed.append(ended)
            self.wake()  # this wakes a thread that waits in `poll`, which then sees the event

    def _start(self, worker: int) -> None:
        method = self._starter.method
        initializer = self._setup.packed_initializer(method, self._names)
        environment = self._setup.limited(self._environment())
        # The values of the caller's names are recorded before the fork, so that the caller knows
        # later which of them the worker has.
        baseline = Baseline(method == "fork")
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
            # Another thread may be in `poll` already. It does not know of this worker, and would
            # wait for ever if the worker never answers.
            self.wake()
        self._setup.send(connection, method, environment, initializer)

    # --- commands; the base class `Backend` describes each of them -----------------------------

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        # The caller does not need the values with these numbers any more, so workers are told to
        # forget them. A finaliser may append a number at any time, so the length is read only once,
        # before the loop.
        dead = self._names.dead
        if dead:
            numbers = {dead.pop() for _ in range(len(dead))}
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
        # With the start method fork, memory for the next call is released as soon as no call is in
        # progress. To release it later would need a thread, and a process that has threads cannot
        # safely be forked.
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
            # The worker may ignore SIGTERM. This message ends it all the same, when it has run its
            # chunks.
            connection.stop()

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

    # --- events of the backend -----------------------------------------------------------------

    def poll(self, timeout: float | None) -> Polled:
        if self._failed:
            timeout = 0
            if self._poller is None:
                # There is no poller, because the system had no descriptor left for one. So there is
                # nothing to wait for.
                return []
        poller = self._poller or self._open()
        if self._unanswered.since:
            timeout = self._unanswered.seconds_left(timeout)
        template = self._starter.template
        if template is not None and template.threads > 1:
            _launch.warn_of_threads(template.threads)
        try:
            # If this object kept its own bound method `_may_spin`, both would form a reference
            # cycle. So each poll binds the method anew.
            waits = timeout is None or timeout > 0
            spin = partial(self._spin.awake, self._may_spin) if waits else None
            return poller.poll(timeout, spin)
        except (OSError, ValueError):
            if self._poller is poller:
                raise
            # The poller was closed during the poll: a signal handler has forked this process, and
            # this is the fork, which has no workers.
            return []

    def _may_spin(self) -> bool:
        """Return whether to poll again and again instead of sleeping."""
        # Polling is worthwhile if items run and a processor is free. The connections are copied:
        # this thread does not hold the lock that guards them, and another thread may start a
        # worker.
        busy = sum([1 for one in [*self._connections.values()] if one.held.chunks])
        return 0 < busy < self._cpus

    def collect(self, polled: Polled) -> Iterator[BackendEvent]:
        failed, self._failed = self._failed, []
        yield from failed
        for watched, event in polled:
            source = watched.source
            if isinstance(source, Connection):
                if self._connections.get(source.number) is not source:
                    continue  # the worker has ended since the poll, so its event is dropped
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
            # `has_cache` is set before the event is returned: the engine may then ask at once to
            # release what is kept.
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
            # The fork server has died, so nobody reports the exit codes of its workers. The workers
            # whose sockets are at their end count as ended, without an exit code.
            for connection in [*self._connections.values()]:
                if connection.state == HUNG_UP:
                    yield from self._end(connection)
            self._starter.drop(template)

    def _give_up_overdue(self) -> Iterator[BackendEvent]:
        for late in self._unanswered.take_overdue():
            late.give_up(_launch.not_in_time(self._unanswered.limit))
            # A fork server that did not answer in time was killed. The end of its socket shows that
            # later.
            if isinstance(late, Connection):
                yield from self._end(late)

    def _end(self, connection: Connection) -> Iterator[BackendEvent]:
        """Handle the end of a worker: when its exit code is known, yield its last events."""
        ended, exitcode = connection.handle.reap()
        if not ended:
            return  # the fork server will report the exit code in a moment
        # The worker has ended, so all bytes that it wrote are in the caller's socket by now, and
        # are read here. The end of the socket may not come: a process that the worker has started
        # may hold the other end open.
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

    # --- opening and closing the backend -------------------------------------------------------

    def _open(self) -> Poller[Connection | Template]:
        # Two threads may call this method at once: one of them waits in `poll` without the lock of
        # the engine's state, and one carries out a command and holds that lock.
        with self._opening:
            if self._poller is None:
                self._poller = Poller()
            return self._poller

    def wake(self) -> None:
        poller = self._poller
        if poller is not None:
            poller.wake()

    def _close_poller(self) -> None:
        # `_poller` is cleared first, so that other threads never find a closed poller in this
        # attribute.
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
        # Another thread may be closing the poller, and it clears the attribute first. So the
        # attribute is read again.
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
            # The numbers of the pool's descriptors may belong to other open files of the program by
            # now, so the pool must not close them. Objects that would close their descriptors when
            # they are deleted are kept as long as the process lives.
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
            self._starter.close_templates()  # each fork server first ends its workers
            for connection in self._connections.values():
                connection.hang_up()
                connection.handle.reap()
                connection.close()
            self._starter.close_lifelines()
        self._connections.clear()
        self._to_flush.clear()
        self._failed.clear()
        self._unanswered.since.clear()
        # A thread that waits in `poll` has to notice that no worker is left, so it is woken.
        self.wake()

    def after_fork_in_child(self) -> None:
        # At the fork, a thread that does not exist in this process may have held the lock, so the
        # lock is replaced.
        self._opening = threading.Lock()
        self._release_segments()
        for connection in self._connections.values():
            connection.after_fork_in_child()
        self._connections.clear()
        self._unanswered.since.clear()
        self._starter.after_fork_in_child()
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.after_fork_in_child()
