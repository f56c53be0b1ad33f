"""One worker process as the caller sees it: its socket, its process, and the messages to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._errors import how_it_ended
from .._jobs.item_errors import INITIALIZER, restore
from .._jobs.reports import Report
from .._transport import protocol
from .._transport.framing import FrameReader, NotAMessage, frame
from .._transport.light_stdlib import receive_with_fds
from .._transport.segments import MOST
from .boot import keep, mark_of, release
from .connection_states import ANSWERED, FAILED, HUNG_UP, LEAVING, READY, STARTING
from .held_chunks import HeldChunks
from .launch import is_alive, no_python, ran_again
from .outbox import PIECE, Outbox
from .protocol import WorkerEnded, WorkerStarted
from .sent_definitions import SentDefinitions

if TYPE_CHECKING:
    from .._jobs.work import Work
    from .._transport.by_value.baseline import Baseline
    from .._transport.environment import Environment
    from .._transport.framing import Message
    from .._transport.segment_pool import LentSegments
    from .launch import StartedProcess
    from .poller import Poller
    from .protocol import BackendEvent


class Connection:
    """One worker process, from its start until its exit code is known.

    Attributes:
        number: the number of the worker.
        slot: a small number, from 1 on; no other worker of the pool has this number at the same
            time.
        handle: an object that can end the worker process, and that knows its process id.
        journal: the shared memory in which the worker notes each result, so that results survive
            the worker; None if there is no such memory.
        sock: the caller's end of the worker's socket.
        state: one of the states in the module `connection_states`.
        reached: the state that the connection had before `HUNG_UP`.
        definitions: the functions and names that were sent to the worker.
        held: the chunks that the worker holds.
        outbox: the messages that wait to be sent to the worker.
        lent_segments: the caller's shared-memory segments that carry arguments to the worker.
        reader: makes messages from the bytes that the worker has sent.
    """

    def __init__(
        self,
        number: int,
        slot: int,
        process: StartedProcess,
        baseline: Baseline,
        environment: Environment,
        lent_segments: LentSegments,
        poller: Poller[Any],
        to_flush: dict[int, Outbox],
    ) -> None:
        """Begin to watch a worker process that was started; it has the names in `baseline`."""
        self.number = number
        self.slot = slot
        self.sock, self.handle, self.journal = process
        self.state = STARTING
        self.reached = STARTING
        self.outbox = Outbox(number, self.sock, poller, to_flush)
        self.definitions = SentDefinitions(self.outbox, baseline, environment)
        self.held = HeldChunks(number, self.journal)
        self.lent_segments = lent_segments
        self.reader = FrameReader()
        self._mark = mark_of(self.sock)
        self._poller = poller
        self._reason = ""  # the reason why the worker cannot be used, in words for the user
        # The exception that the pool's initializer has raised in the worker.
        self._cause: Exception | None = None
        # whether every other worker would fail to start for the same reason
        self._is_hopeless = False
        poller.watch(self.sock, self)
        if self.handle.sentinel is not None:
            poller.watch(self.handle.sentinel, self)

    # --- messages to the worker ----------------------------------------------------------------

    def discard(self, work: Work) -> None:
        """Tell the worker to skip those chunks of a call that it has not begun."""
        serials = [sent.serial for sent in self.held.chunks if sent.work is work]
        self.outbox.write(frame(protocol.make_discard(serials)))

    def stop(self) -> None:
        """Tell the worker to end when it has run the chunks that it holds."""
        self.outbox.write(frame(protocol.make_quit()))

    def let_go(self) -> None:
        """Tell a worker that holds no chunk to end, because the caller's interpreter is ending.

        The message is sent at once, and not with the next flush.
        """
        # OSError means that the worker has ended, or that its socket takes no more bytes. In the
        # second case the worker will be killed.
        with suppress(OSError):
            self.sock.send(frame(protocol.make_quit()))
            self.state = LEAVING

    # --- messages from the worker --------------------------------------------------------------

    def receive(self, to_the_end: bool = False) -> Iterator[BackendEvent]:
        """Read what the worker has sent so far, and yield the events; notice the end of the socket.

        Args:
            to_the_end: whether to read the socket to its end now, because the worker process has
                ended.
        """
        while self.state != HUNG_UP:
            try:
                data, fds = receive_with_fds(self.sock, PIECE, MOST)
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", None
            if not data:
                if is_alive(self.handle.pid):
                    self._fail("it lost its connection: something in it closed descriptors")
                self.hang_up()
                return
            try:
                yield from self._events(data, fds)
            except NotAMessage:
                if self.held.calls.works:
                    yield self.held.calls.taken()
                self._fail("something in it wrote into its connection")
                self.hang_up()
                return
            if len(data) < PIECE and not to_the_end:
                # The socket is not read again to look for more: that would cost a system call, and
                # the next poll reports more data, or the end of the socket.
                return

    def _events(self, data: bytes, fds: list[int] | None) -> Iterator[BackendEvent]:
        calls = self.held.calls
        for message in self.reader.feed(data, fds):
            if calls.take(message, self.reader.size):
                continue
            if calls.works:
                yield calls.taken()
            event = self._on_message(message)
            if event is not None:
                yield event
        if calls.works:
            yield calls.taken()

    def _on_message(self, message: Message) -> BackendEvent | None:
        kind = message[0]
        if kind == protocol.RESULTS:
            results: protocol.Results = message
            _, serial, entries, last, elapsed, replace, gone, *times = results
            if gone:
                self.lent_segments.back(gone)
            if serial in self.held.discarded:
                self.held.discarded.remove(serial)
                return None
            assert self.held.chunks[0].serial == serial
            size = self.reader.size
            return self.held.finish(entries, last, elapsed, replace, size, times)
        if self.state == STARTING:
            self.state = ANSWERED
        if kind == protocol.AGAIN:
            self._fail(ran_again(), hopeless=True)
            self.handle.kill()
        elif kind == protocol.READY:
            self.state = READY
            self.handle.set_pid(protocol.parse_ready(message))
            return WorkerStarted(self.number, self.journal is not None, self.journal is not None)
        elif kind == protocol.REPORT:
            return self._report(message)
        elif kind == protocol.BEGUN:
            self.held.begin(protocol.parse_begun(message))
        elif kind == protocol.BROKEN:
            error = restore(protocol.parse_broken(message), INITIALIZER)
            self._fail(f"the initializer raised {type(error).__name__}: {error}", cause=error)
        # The remaining kind, HELLO, needs no answer: this message only shows that the worker runs
        # pmap's code.
        return None

    def _report(self, message: protocol.Report) -> Report:
        _, kind, offset, data = message
        # A report is output or a log record. A worker without a chunk runs no item, so the report
        # comes from its initializer, or from a thread that an earlier item has started.
        if not self.held.chunks:
            return Report(kind, data, self.number, None, None)
        sent = self.held.chunks[0]
        index = None if offset is None else sent.start + offset
        return Report(kind, data, self.number, sent.work, index)

    @property
    def answered(self) -> bool:
        """Whether any message has come from the worker."""
        return self.state != STARTING

    def is_surely_python(self) -> bool:
        """Return whether the worker process certainly runs the interpreter of this program."""
        return self.handle.is_surely_python()

    # --- the end of the worker -----------------------------------------------------------------

    def _fail(self, reason: str, cause: Exception | None = None, hopeless: bool = False) -> None:
        """Record why the worker cannot be used; if there is a reason already, keep that one."""
        if self.state not in (FAILED, HUNG_UP):
            self.state = FAILED
            self._reason, self._cause, self._is_hopeless = reason, cause, hopeless

    def give_up(self, why: str) -> None:
        """Stop waiting for the worker's first message; `why` is the reason, for the user."""
        self._fail(why, hopeless=True)
        self.hang_up()

    def hang_up(self) -> None:
        """Stop reading and watching the worker's socket."""
        if self.state != HUNG_UP:
            self.reached, self.state = self.state, HUNG_UP
            self.outbox.hang_up()
            self._poller.unwatch(self.sock)

    def last_event(
        self, begun: int, exitcode: int | None, is_interpreter: bool, oversize: str
    ) -> WorkerEnded:
        """Return the event that the worker has ended; its socket is not read any more.

        Args:
            begun: how many unfinished items of its first chunk the worker had begun.
            exitcode: the exit code of the worker process; None if it is not known.
            is_interpreter: whether the worker process was started as a fresh interpreter.
            oversize: the reason to give if the worker ended because it took too much memory; "" if
                not.
        """
        reason = self._reason if self._cause is not None else self.handle.failure or self._reason
        hopeless = self._is_hopeless or self.handle.hopeless
        if not reason and is_interpreter and self.reached == STARTING:
            reason = no_python(exitcode)
            hopeless = hopeless or bool(reason)
        if not reason and self.reached in (STARTING, ANSWERED):
            reason = f"the process {how_it_ended(exitcode)} before it was ready"
        stack = ""
        if self.journal is not None:
            stack = self.journal.last_words()
            reason = oversize if self.journal.oversize else reason
        pid, cause = self.handle.pid, self._cause
        return WorkerEnded(self.number, begun, pid, exitcode, reason, cause, stack, hopeless)

    def close(self) -> None:
        """Close all descriptors and the shared memory of a worker whose process has ended."""
        self.outbox.close()
        self.hang_up()
        if self.handle.sentinel is not None:
            self._poller.unwatch(self.handle.sentinel)
        self.handle.release()
        self.sock.close()
        if self.journal is not None:
            self.journal.close()

    def abandon(self) -> None:
        """End the worker process, after the program has closed descriptors of the pool.

        The shared memory of the result journal stays mapped. To close it would close its
        descriptor, and that number may belong to another file now.
        """
        release(self.sock, self._mark)
        self.handle.abandon()
        keep(self.journal)

    def after_fork_in_child(self) -> None:
        """Close the copies of the worker's descriptors that this process, a fork, has."""
        self.sock.close()
        self.handle.after_fork_in_child()
        self.handle.release()
