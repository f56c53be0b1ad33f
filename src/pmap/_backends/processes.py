"""Worker processes, each behind a socket of its own.

Nothing is shared between workers, so one that dies holds nothing up, and the caller always knows
which items each one holds. What a dead worker had finished is read from its result journal.
"""

from __future__ import annotations

import marshal
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from .._calls.cpus import cpu_count
from .._calls.describe import name_of
from .._errors import how_it_ended, is_ctrl_c
from .._jobs.item_errors import INITIALIZER, restore
from .._jobs.reports import Report, streams_of_caller
from .._jobs.work import CallSpec, Work
from .._transport import process_role, protocol
from .._transport.adaptive_spin import AdaptiveSpin
from .._transport.by_value.baseline import Baseline
from .._transport.by_value.handover import NamelessError
from .._transport.by_value.names import Needs, UnsentNameError
from .._transport.by_value.sent_names import SentNames
from .._transport.descriptors import Descriptor
from .._transport.environment import capture_environment, limited
from .._transport.exceptions import describe
from .._transport.framing import frame, frame_of_entries
from .._transport.journal import ResultJournal
from .._transport.light_stdlib import socket
from .._transport.packing import packed
from .._transport.payload import Payload, payload_of
from .._transport.segment_pool import KEPT, FreeSegments, LentSegments
from .._transport.segments import Segment
from .._transport.values import Attachments, encode
from . import boot as _boot
from . import launch as _launch
from .connection import Connection, Sent
from .poller import READABLE, WRITABLE, Poller, Watched
from .protocol import Backend, BackendEvent, WorkerEnded, WorkerStarted
from .template_client import Template
from .ties import identity_of, ties

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .._transport.environment import Environment, Limits
    from .._transport.framing import Message
    from .._transport.packing import Entry
    from .main_module import Script

# Bytes of a chunk that is sent before the next one is made: the worker need not wait for that.
_AT_ONCE = 1 << 13
# Seconds in which what was started has to say that it is a Python; and what surely is one, which
# may be slow to begin where many do, or where its files are far away.
_ANSWER = 10.0
_SLOW_ANSWER = 60.0
# Segments that a worker holds and we wait for, to use them again.
_MOST_LENT = 16


_Polled: TypeAlias = "list[tuple[Watched[Connection | Template | None], int]]"


def _coverage_config() -> str | None:
    """Return the file by which coverage measures the children of multiprocessing, if it does."""
    patched = hasattr(sys.modules.get("multiprocessing"), "_coverage$patched")
    return os.environ.get("COVERAGE_RCFILE") if patched else None


class ProcessBackend(Backend[_Polled]):
    """Starts worker processes and speaks with them."""

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
        self._method: str = start_method or _boot.default_start_method()
        self._is_chosen = start_method is not None
        self._initializer = initializer
        self._initargs = initargs
        self._main = main
        self._script: Script | None = None  # which workers are to import
        self.sent_names: SentNames | None = SentNames(
            self._method == "fork", imports=main == "import"
        )
        self._max_memory = max_memory
        self._kill_over_memory = kill_over_memory
        self._limits = limits
        self._environments: tuple[Environment, Environment] | None = (
            None  # the last, and what a worker is told
        )
        self._links: dict[int, Connection] = {}
        self._poller: Poller[Connection | Template] | None = None
        self._opening = threading.Lock()
        self._template: Template | None = None
        self._lifeline: _boot.Lifeline | None = (
            None  # of all workers, also those of a template that died
        )
        self._environment: Environment | None = None
        self._to_flush: dict[int, Connection] = {}
        self._free_segments = FreeSegments()
        # Bytes of segments that a worker may keep. None where its memory is counted: they would be.
        self._room = KEPT // processes if max_memory is None else 0
        self.has_cache: bool = False
        self._cpus = cpu_count()
        self._spin = AdaptiveSpin()
        # As whom the last worker was started, and what belongs to those that were another's.
        self._identity = _launch.identity()
        self._old_templates: list[Template] = []
        self._old_lifelines: list[_boot.Lifeline] = []
        # What was started and has not answered yet, and when it was started.
        self._awaited: dict[Connection | Template, float] = {}
        self._failed: list[BackendEvent] = []  # workers that could not even be asked for

    @property
    def start_method(self) -> str:
        return self._method

    def pids(self) -> list[int]:
        """Return the process ids of the workers, as far as they are known."""
        return [link.handle.pid for link in self._links.values() if link.handle.pid is not None]

    def workers(self) -> dict[int, int | None]:
        return {number: link.handle.pid for number, link in self._links.copy().items()}

    def identity(self, worker: int) -> tuple[tuple[int, ...], str]:
        link = self._links.get(worker)
        return identity_of(1 if link is None else link.slot, self._method)[:2]

    def finished_ahead(self, number: int) -> int:
        return sum([link.finished_ahead(number) for link in [*self._links.values()]])

    # --- commands ------------------------------------------------------------------------------

    def check(self) -> None:
        if self._main == "import":
            from .main_module import main_to_import

            self._script = main_to_import()
        if self._initializer is None:
            return
        try:
            self._packed_initializer()
        except BaseException as error:  # whatever the pickling of its own objects does
            if is_ctrl_c(error):
                raise
            if isinstance(error, NamelessError) and not self._is_chosen and hasattr(os, "fork"):
                # Locks that are made for forks, by a program that does not say how workers are to
                # begin: multiprocessing would fork here, too.
                self._method = "fork"
                self.sent_names = SentNames(True, imports=self._main == "import")
                return
            from .._multiprocessing_errors import NotPicklableError
            from .._transport.by_value.blame import where_it_fails

            why = error.why if isinstance(error, UnsentNameError) else error
            name = name_of(self._initializer)
            where = where_it_fails(self._initializer, name, why)
            where = where or where_it_fails(self._initargs, "initargs", why)
            raise NotPicklableError(
                "initializer",
                "caller",
                f"it or its arguments could not be pickled: {describe(why)}{where}",
                function=name,
                index=None,
                input="",
            ) from why

    def start(self, worker: int) -> None:
        try:
            self._start(worker)
        except Exception as error:  # no memory, no processes, no descriptors left
            cause = error
            reason = f"the initializer could not be sent: {error}"
            if isinstance(error, OSError):
                reason = _launch.refused(error)
            hopeless = isinstance(error, OSError) and error.errno in _launch.NO_PROGRAM
            gone = WorkerEnded(worker, begun=0, reason=reason, cause=cause, hopeless=hopeless)
            self._failed.append(gone)
            self.wake()  # another thread may be in `poll`

    def _start(self, worker: int) -> None:
        initializer = self._packed_initializer()
        self._environment = self._limited(capture_environment())
        baseline = Baseline(self._method == "fork")  # before a fork, which is to have the same
        poller = self._open()
        ours, theirs = _boot.connection()
        journal: ResultJournal | None = None
        try:
            with closing(theirs):
                # Before the process is started, when nobody can have closed the other end yet.
                journal = _launch.send_journal(ours)
                handle = self._start_process(worker, ours, theirs, initializer is not None)
        except BaseException:
            ours.close()
            if journal is not None:
                journal.close()
            raise
        ours.setblocking(False)
        taken = {link.slot for link in self._links.values()}
        slot = next(number for number in count(1) if number not in taken)
        link = Connection(
            worker,
            ours,
            handle,
            journal,
            self._environment,
            self._new_lent_segments(),
            baseline,
            slot,
            poller,
            self._to_flush,
        )
        self._links[worker] = link
        if self._method == "spawn":
            self._awaited[link] = monotonic()
        self._set_up(link, initializer)

    def _packed_initializer(self) -> tuple[Needs, Payload] | None:
        """Return the initializer with its arguments as bytes; raises what their pickling raises.

        None: there is none; or it cannot be sent, and workers are forks, which have it.
        """
        if self._initializer is None:
            return None
        needs = Needs(self._names())
        try:
            payload = payload_of((self._initializer, self._initargs), None, needs)
        except Exception:
            if self._method == "fork":
                return None
            raise
        needs.check()
        return needs, payload

    def _names(self) -> SentNames:
        assert self.sent_names is not None
        return self.sent_names

    def _set_up(self, link: Connection, packed: tuple[Needs, Payload] | None) -> None:
        """Send a worker what it begins with."""
        initializer: list[Entry] = []
        attachments: list[Segment | Descriptor] = []
        about_it: tuple[object, ...] = (), ()
        if packed is not None:
            needs, payload = packed
            link.send_units(needs)
            initializer, attachments = [payload.entry], payload.attachments
            about_it = tuple(needs.units), link.baseline.names_of(needs)
        inherited = link.baseline.numbers() if self._method == "fork" else ()
        memory = self._max_memory, self._kill_over_memory
        on_idle = *memory, self._cpus > 1, self._room, streams_of_caller(), _coverage_config()
        script: tuple[object, ...] | None = None
        if self._script is not None:
            how = (None, None) if self._method == "fork" else self._script[:2]
            script = link.baseline.numbers()[0], *how
        link.tell_ties()
        generation, identity = process_role.generation + 1, identity_of(link.slot, self._method)
        about = generation, identity, self._environment, list(sys.argv), inherited, script
        message = frame_of_entries(
            lambda entries: (protocol.SETUP, *about, *about_it, entries, *on_idle), initializer
        )
        link.write(message, attachments)

    def _start_process(
        self, worker: int, ours: socket, theirs: socket, is_sent: bool
    ) -> _launch.Handle:
        """Start a worker; `is_sent`: the initializer is sent to it."""
        identity = _launch.identity()
        if identity != self._identity:
            # Who was started before keeps what it has until it is gone. (The lifeline, too: another
            # user may not open it.)
            self._old_lifelines += [] if self._lifeline is None else [self._lifeline]
            self._old_templates += [] if self._template is None else [self._template]
            self._lifeline = self._template = None
        self._identity = identity
        if self._method != "forkserver":
            if self._lifeline is None or self._lifeline.closed:
                self._lifeline = _boot.Lifeline()
            if self._method == "spawn":
                return _launch.start_spawn(theirs, self._lifeline)
            given = None
            if self._initializer is not None and not is_sent:
                given = self._initializer, self._initargs
            return _launch.start_fork(theirs, ours, self._lifeline, given)
        if self._template is not None and not self._template.alive:
            self._drop_template()
        script = None if self._script is None else self._script.now()
        if self._template is not None and self._template.script != script:
            self.renew()  # its workers would have the script as it was
        if self._template is None:
            self._template = Template(_boot.take(self._lifeline))
            self._lifeline = self._template.lifeline
            self._open().watch(self._template.sock, self._template)
            self._awaited[self._template] = monotonic()
            if script is not None:
                self._template.import_script(script, self._about_import(script))
        return self._template.start(worker, theirs)

    def _about_import(self, script: Script) -> bytes:
        """Return what a template is told that is to import the script."""
        about = process_role.generation + 1, identity_of(1, self._method), self._environment
        how = streams_of_caller(), _coverage_config()
        return marshal.dumps((*about, list(sys.argv), script[:2], *how))

    def renew(self) -> None:
        template = self._template
        if template is not None and template.script is not None:
            # It has imported the script, and what that has imported.
            self._template = None
            self._old_templates.append(template)
            if template.is_unused:
                self._close_template(template)

    def send(self, worker: int, work: Work, start: int, stop: int, step: int) -> None:
        link = self._links[worker]
        spec = work.spec
        assert spec is not None, "it was not packed"
        self._forget()
        if link.ties is not ties():
            link.tell_ties()
        if spec.number not in link.told:
            link.introduce(spec, self._limited(spec.environment))
        gone = link.reader.gone()
        if gone:  # it may use the segments of these results again
            link.write(frame((protocol.BACK, gone)))
        link.serial += 1
        serial = link.serial
        items = work.call.items[start:stop]
        entries = packed(items)
        if entries is None:
            self._send_large(link, work, start, items, step)
            return
        try:
            message = frame((protocol.CHUNK, spec.number, serial, entries, step, start))
        except ValueError:  # it is too large for marshal
            self._send_large(link, work, start, items, step)
            return
        link.chunks.append(Sent(serial, work, start, stop - start, len(message)))
        link.write(message)
        if len(message) >= _AT_ONCE:
            link.flush()

    def _send_large(
        self, link: Connection, work: Work, start: int, items: Sequence[object], step: int
    ) -> None:
        """Send a chunk of items that are pickled, or large."""
        spec = work.spec
        assert spec is not None, "it was not packed"
        attachments = Attachments(lambda buffers: self._lend(link, buffers))
        entries = self._entries(work, start, items, attachments)
        if len(spec.needs.names) > link.told[spec.number]:
            link.tell_more(spec)
        chunk = protocol.CHUNK, spec.number, link.serial
        message = frame_of_entries(lambda some: (*chunk, some, step, start), entries)
        size = len(message) + attachments.size
        link.chunks.append(Sent(link.serial, work, start, len(items), size))
        link.write(message, attachments.segments)

    def _forget(self) -> None:
        """Let workers forget the units that nothing refers to any more."""
        dead = self._names().dead
        if dead:
            numbers = {dead.pop() for _ in range(len(dead))}
            for link in self._links.values():
                link.forget_units(numbers)

    def _limited(self, environment: Environment) -> Environment:
        """Return the surroundings with the limits of a worker; the same while they stay."""
        if self._environments is None or self._environments[0] is not environment:
            self._environments = environment, limited(environment, self._limits)
        return self._environments[1]

    def _lend(self, link: Connection, buffers: Sequence[Buffer]) -> Segment | None:
        """Return a segment that holds `buffers`, and wait for its return."""
        segment = link.lent_segments.written(buffers)
        self.has_cache = self.has_cache or segment is not None
        return segment

    def _new_lent_segments(self) -> LentSegments:
        return LentSegments(self._free_segments, KEPT, _MOST_LENT)

    def _entries(
        self, work: Work, start: int, items: Sequence[object], attachments: Attachments
    ) -> list[Entry]:
        entries: list[Entry] = []
        assert work.spec is not None, "it was not packed"
        needs = work.spec.needs
        for index, item in enumerate(items, start):
            try:
                entries.append(encode(item, attachments=attachments, role=needs))
            except BaseException as error:  # whatever the object's own pickling does
                if is_ctrl_c(error):
                    raise
                work.unsent = work.unsent or {}
                work.unsent[index] = error, self._where(item, error)
                entries.append([])
        return entries

    def _where(self, item: object, error: BaseException) -> str:
        if not isinstance(error, Exception):
            return ""
        from .._transport.by_value.blame import where_it_fails

        return where_it_fails(item, "the argument", error)

    def discard(self, worker: int, work: Work) -> None:
        self._links[worker].discard(work)

    def is_outdated(self, spec: CallSpec) -> bool:
        if self._links and self._identity != _launch.identity():
            return True
        if self._method != "fork":
            return False
        return any(link.baseline.lacks(spec.needs) for link in [*self._links.values()])

    def drop(self, spec: CallSpec) -> None:
        for link in self._links.values():
            link.drop(spec)

    def on_idle(self) -> None:
        # Only a thread could give it back later, and there had better be none where this process
        # is forked.
        if self._method == "fork":
            self.release_cache()

    def release_cache(self) -> None:
        if self.has_cache:
            self._keep_none()
            for link in self._links.values():
                if link.reader.borrows:
                    link.reader.borrows = False
                    link.write(frame((protocol.BACK, None)))

    def _keep_none(self) -> None:
        """Give back what is kept for arguments to come.

        Nothing is changed in what was there: this may be a fork, made while another thread did so.
        """
        self.has_cache = False
        self._free_segments = FreeSegments()
        for link in self._links.values():
            link.lent_segments = self._new_lent_segments()

    def stop(self, worker: int) -> None:
        link = self._links[worker]
        link.write(frame((protocol.QUIT,)))

    def kill(self, worker: int) -> None:
        if worker in self._links:
            self._links[worker].handle.kill()

    def abort(self, worker: int) -> None:
        if worker in self._links:
            self._links[worker].handle.abort()

    def terminate(self, worker: int) -> None:
        if worker in self._links:
            link = self._links[worker]
            link.handle.terminate()
            link.write(frame((protocol.QUIT,)))  # it may not heed the signal

    def begun(self, worker: int) -> int:
        return self._links[worker].begun()

    def check_deadline(self, worker: int, limit: float) -> tuple[float, bool] | None:
        link = self._links.get(worker)
        return None if link is None else link.check_deadline(limit)

    def reclaim(self, worker: int) -> tuple[int, int | None]:
        return self._links[worker].reclaim()

    def flush(self) -> None:
        while self._to_flush:
            self._to_flush.popitem()[1].flush()

    # --- what happens --------------------------------------------------------------------------

    def poll(self, timeout: float | None) -> _Polled:
        if self._failed:
            timeout = 0
            if self._poller is None:
                return []  # it may be just this that could not be opened
        poller = self._poller or self._open()
        if self._awaited:
            timeout = self._until_late(timeout)
        template = self._template
        if template is not None and template.threads > 1:
            _launch.warn_of_threads(template.threads)
        try:
            polled: _Polled | None = None
            if timeout is None or timeout > 0:
                polled = self._spin.awake(self._can_stay_awake, lambda: poller.poll(0))
            return polled or poller.poll(timeout)
        except (OSError, ValueError):
            if self._poller is poller:
                raise
            return []  # a signal's handler has forked this process, which has no workers now

    def _until_late(self, timeout: float | None) -> float:
        """Return `timeout`, or less: when something is to be given up that does not answer."""
        # Iterate over a copy: this thread does not hold the lock of the state.
        left = [self._left(one, began) for one, began in [*self._awaited.items()]]
        left += [] if timeout is None else [timeout]
        return max(0.0, min(left, default=_ANSWER))

    def _left(self, one: Connection | Template, began: float) -> float:
        """Return for how many seconds something may go on not to answer."""
        passed = monotonic() - began
        if passed < _ANSWER:
            return _ANSWER - passed
        process = one.handle if isinstance(one, Connection) else one
        return (_SLOW_ANSWER if process.is_surely_python() else _ANSWER) - passed

    def _look_at_awaited(self) -> Iterator[BackendEvent]:
        for one, began in [*self._awaited.items()]:
            if one.answered:
                del self._awaited[one]
            elif self._left(one, began) <= 0:
                del self._awaited[one]
                why = _launch.not_in_time(_ANSWER)
                if isinstance(one, Template):
                    one.give_up(why)  # its socket ends
                else:
                    one.why, one.hopeless = why, True
                    one.hang_up()
                    yield from self._end(one)

    def _can_stay_awake(self) -> bool:
        """Return whether a worker has something, and there is a processor that none needs."""
        # Iterate over a copy: this thread does not hold the lock of the state, and another thread
        # may start a worker just now.
        return 0 < sum([1 for link in [*self._links.values()] if link.chunks]) < self._cpus

    def collect(self, polled: _Polled) -> Iterator[BackendEvent]:
        failed, self._failed = self._failed, []
        yield from failed
        for watched, event in polled:
            source = watched.source
            if isinstance(source, Connection):
                if self._links.get(source.number) is not source:
                    continue  # it ended since it was polled
                if event & WRITABLE:
                    source.flush()
                if event & READABLE:
                    yield from self._read(source)
                    if source.ended or watched.end is not source.sock:
                        yield from self._end(source)
            elif source is None:
                if self._poller is not None:
                    self._poller.quiet()
            elif source in (self._template, *self._old_templates):  # and not closed since the poll
                yield from self._hear(source)
        if self._awaited:
            yield from self._look_at_awaited()

    def _hear(self, template: Template) -> Iterator[BackendEvent]:
        ended = template.read()
        for kind, data in template.reports:
            yield Report(kind, data, 1, None, None)
        template.reports.clear()
        for number in ended:
            if number in self._links:
                yield from self._end(self._links[number])
        if template.alive:
            if template is not self._template and template.is_unused:
                self._close_template(template)
            return
        # Workers whose sockets had ended already waited for its word on how.
        for link in [link for link in self._links.values() if link.ended]:
            yield from self._end(link)
        if template is self._template:
            self._template = None
        self._close_template(template)

    def _read(self, link: Connection, to_the_end: bool = False) -> Iterator[BackendEvent]:
        for message in link.messages(to_the_end):
            event = self._take(link, message)
            if event is not None:
                yield event

    def _take(self, link: Connection, message: Message) -> BackendEvent | None:
        what = message[0]
        if what == protocol.RESULTS:
            _, serial, results, last, elapsed, replace, gone = message
            if gone:
                link.lent_segments.back(gone)
            self.has_cache = self.has_cache or link.reader.borrows
            if serial in link.discarded:
                link.discarded.remove(serial)
                return None
            assert link.chunks[0].serial == serial
            return link.finished(results, last, elapsed, replace)
        link.answered = True
        if what == protocol.HELLO:
            return None
        if what == protocol.AGAIN:
            link.why, link.hopeless = _launch.ran_again(), True
            link.handle.kill()
        elif what == protocol.READY:
            link.ready = True
            link.handle.met(message[1])
            return WorkerStarted(link.number, link.journal is not None, link.journal is not None)
        elif what == protocol.REPORT:
            return self._report(link, *message[1:])
        elif what == protocol.BEGUN:
            link.begin(message[1])
        else:
            link.broken = restore(message[1], INITIALIZER)
        return None

    def _report(self, link: Connection, kind: int, offset: int | None, data: bytes) -> Report:
        if not link.chunks:  # of the initializer, or of a thread that an item has left behind
            return Report(kind, data, link.number, None, None)
        sent = link.chunks[0]
        index = None if offset is None else sent.start + offset
        return Report(kind, data, link.number, sent.work, index)

    def _end(self, link: Connection) -> Iterator[BackendEvent]:
        """Take in that a worker has ended or is of no use any more, once its exit is known."""
        ended, exitcode = link.handle.reap()
        if not ended:
            return  # the template reports the end in a moment
        # All that it wrote is in the socket by now, also what came after the last read; the end of
        # the stream may not be, if something that it started holds its end open.
        yield from self._read(link, to_the_end=True)
        begun, salvaged = link.salvage()
        if salvaged:
            yield link.finished(salvaged, False, 0.0)
        del self._links[link.number]
        reason = link.handle.failure or link.why
        if link.broken is not None:
            reason = f"the initializer raised {type(link.broken).__name__}: {link.broken}"
        if not reason and self._method == "spawn" and not link.answered:
            reason = _launch.no_python(exitcode)
            link.hopeless = bool(reason)
        if not reason and not link.ready:
            reason = f"the process {how_it_ended(exitcode)} before it was ready"
        stack = link.journal.last_words() if link.journal is not None else ""
        if link.journal is not None and link.journal.oversize:
            reason = f"it took more than {self._max_memory} bytes of memory"
        link.close()
        self._awaited.pop(link, None)
        pid, hopeless = link.handle.pid, link.hopeless or link.handle.hopeless
        yield WorkerEnded(link.number, begun, pid, exitcode, reason, link.broken, stack, hopeless)

    # --- opening and closing -------------------------------------------------------------------

    def _open(self) -> Poller[Connection | Template]:
        # `poll` comes here without the driver's lock, while a command may, too.
        with self._opening:
            if self._poller is None:
                self._poller = Poller()
            return self._poller

    def _unwatch(self, end: socket | int) -> None:
        if self._poller is not None:
            self._poller.unwatch(end)

    def wake(self) -> None:
        poller = self._poller
        if poller is not None:
            poller.wake()

    def _drop_template(self) -> None:
        template, self._template = self._template, None
        for one in [*self._old_templates, *([] if template is None else [template])]:
            self._close_template(one)

    def _close_template(self, template: Template) -> None:
        self._awaited.pop(template, None)
        if template in self._old_templates:
            self._old_templates.remove(template)
        self._unwatch(template.sock)
        template.close()

    def _drop_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, None
        for one in [*self._old_lifelines, *([] if lifeline is None else [lifeline])]:
            one.close()
        self._old_lifelines.clear()

    def _close_poller(self) -> None:
        # Gone before it is closed: who looks from another thread finds none, never a closed one.
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.close()

    @property
    def is_open(self) -> bool:
        return self._poller is not None

    def close(self) -> None:
        self._names().clear()
        self._keep_none()
        self._drop_template()
        self._drop_lifeline()
        self._close_poller()

    def is_robbed(self) -> bool:
        poller = self._poller
        # Another thread may have closed it in this moment: it takes it away from here before.
        return poller is not None and poller.is_robbed() and self._poller is poller

    def _forsake(self) -> None:
        """Give up all workers, without their descriptors: the program has closed them.

        What has a number of theirs by now is not ours to close. What would close one by itself is
        kept as long as the program lives.
        """
        self._names().clear()
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.forsake()
        for link in self._links.values():
            link.forsake()
        self._links.clear()
        template, self._template = self._template, None
        for one in [*self._old_templates, *([] if template is None else [template])]:
            one.forsake()
        self._old_templates.clear()
        self._awaited.clear()
        self._to_flush.clear()
        self._failed.clear()
        self._drop_lifeline()

    def let_go(self) -> None:
        for link in self._links.values():
            if link.ready and not link.chunks and not link.ended:
                with suppress(OSError):  # it is gone, or takes no more: it will be killed
                    link.sock.send(frame((protocol.QUIT,)))
                    link.is_leaving = True

    def is_left(self) -> bool:
        return any(link.is_leaving for link in self._links.values())

    def end(self) -> None:
        self._keep_none()
        if self.is_robbed():
            self._forsake()
            return
        for link in self._links.values():
            link.handle.kill()
        self._drop_template()  # it ends its workers before itself
        for link in self._links.values():
            if not link.ended:
                link.hang_up()
            link.handle.reap()
            link.close()
        self._drop_lifeline()
        self._links.clear()
        self._to_flush.clear()
        self._failed.clear()
        self._awaited.clear()
        self.wake()  # another thread may be in `poll`, on what is gone now

    def after_fork_in_child(self) -> None:
        self._opening = threading.Lock()  # it may be held by a thread that is not here
        self._keep_none()
        for link in self._links.values():
            link.disown()
        self._links.clear()
        self._awaited.clear()
        self._drop_lifeline()
        template, self._template = self._template, None
        for one in [*self._old_templates, *([] if template is None else [template])]:
            one.after_fork_in_child()
        self._old_templates.clear()
        self._close_poller()
