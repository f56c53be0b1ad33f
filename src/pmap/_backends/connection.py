"""One worker, as the caller knows it: its socket, its process, what it holds and what it knows."""

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
    """One worker, from the start of its process until its exit code is known.

    Attributes:
        number: the worker's.
        slot: counted from 1; no other worker of the pool has it at the same time.
        handle: its process.
        journal: the memory that is shared with it; None where there is none.
        sock: our end of its socket.
        state: see `connection_states`.
        reached: the state in which it was when it hung up.
        definitions: the functions and names that it was sent.
        held: the chunks that it holds.
        outbox: what waits to be sent to it.
        lent_segments: what it has of our memory, for large arguments.
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
        """Watch a worker that was started.

        Args:
            number: the worker's.
            slot: see above.
            process: what was started.
            baseline: the caller's names that the worker has from its start.
            environment: the environment that it starts with.
            lent_segments: see above.
            poller: watches its socket and its process.
            to_flush: see `Outbox`.
        """
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
        self._reason = ""  # why it failed
        self._cause: Exception | None = None  # what its initializer raised
        self._is_hopeless = False  # no other worker could start, either
        poller.watch(self.sock, self)
        if self.handle.sentinel is not None:
            poller.watch(self.handle.sentinel, self)

    # --- what goes to it -----------------------------------------------------------------------

    def discard(self, work: Work) -> None:
        """Tell it not to begin the chunks that it holds of a call."""
        serials = [sent.serial for sent in self.held.chunks if sent.work is work]
        self.outbox.write(frame(protocol.make_discard(serials)))

    def stop(self) -> None:
        """Tell it to end when it has done what it holds."""
        self.outbox.write(frame(protocol.make_quit()))

    def let_go(self) -> None:
        """Tell it to end, at once, since the interpreter ends; only for one that holds no chunk."""
        with suppress(OSError):  # it has ended, or it takes no more: it will be killed
            self.sock.send(frame(protocol.make_quit()))
            self.state = LEAVING

    # --- what comes from it --------------------------------------------------------------------

    def receive(self, to_the_end: bool = False) -> Iterator[BackendEvent]:
        """Yield what comes of all that it has sent by now; notice the end of its socket.

        Args:
            to_the_end: the process has ended, so what is in the socket is not left for the next
                poll.
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
                for message in self.reader.feed(data, fds):
                    event = self._on_message(message)
                    if event is not None:
                        yield event
            except NotAMessage:
                self._fail("something in it wrote into its connection")
                self.hang_up()
                return
            if len(data) < PIECE and not to_the_end:
                return  # the next poll tells of more, or of the end: this saves a system call

    def _on_message(self, message: Message) -> BackendEvent | None:
        kind = message[0]
        if kind == protocol.RESULTS:
            results: protocol.Results = message
            _, serial, entries, last, elapsed, replace, gone = results
            if gone:
                self.lent_segments.back(gone)
            if serial in self.held.discarded:
                self.held.discarded.remove(serial)
                return None
            assert self.held.chunks[0].serial == serial
            return self.held.finish(entries, last, elapsed, replace, self.reader.size)
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
        return None  # HELLO says no more than that it has answered

    def _report(self, message: protocol.Report) -> Report:
        _, kind, offset, data = message
        if not self.held.chunks:  # of the initializer, or of a thread that an item has left behind
            return Report(kind, data, self.number, None, None)
        sent = self.held.chunks[0]
        index = None if offset is None else sent.start + offset
        return Report(kind, data, self.number, sent.work, index)

    @property
    def answered(self) -> bool:
        """Whether anything has come from it."""
        return self.state != STARTING

    def is_surely_python(self) -> bool:
        """Return whether its process is known to be the interpreter that runs this program."""
        return self.handle.is_surely_python()

    # --- its end -------------------------------------------------------------------------------

    def _fail(self, reason: str, cause: Exception | None = None, hopeless: bool = False) -> None:
        """Note why it cannot be used; the first reason stays."""
        if self.state not in (FAILED, HUNG_UP):
            self.state = FAILED
            self._reason, self._cause, self._is_hopeless = reason, cause, hopeless

    def give_up(self, why: str) -> None:
        """Stop waiting for its first message."""
        self._fail(why, hopeless=True)
        self.hang_up()

    def hang_up(self) -> None:
        """Stop reading and watching its socket."""
        if self.state != HUNG_UP:
            self.reached, self.state = self.state, HUNG_UP
            self.outbox.hang_up()
            self._poller.unwatch(self.sock)

    def last_event(
        self, begun: int, exitcode: int | None, is_interpreter: bool, oversize: str
    ) -> WorkerEnded:
        """Return the event that it has ended; it has hung up.

        Args:
            begun: how many unfinished items of its first chunk it had begun.
            exitcode: of its process; None: not known.
            is_interpreter: whether its process was started as a fresh interpreter.
            oversize: what to say if it was ended because it took too much memory.
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
        """Give back all descriptors and memory that are kept for it; its process has ended."""
        self.outbox.close()
        self.hang_up()
        if self.handle.sentinel is not None:
            self._poller.unwatch(self.handle.sentinel)
        self.handle.release()
        self.sock.close()
        if self.journal is not None:
            self.journal.close()

    def abandon(self) -> None:
        """End its process where the program has closed our descriptors; its memory is kept."""
        release(self.sock, self._mark)
        self.handle.abandon()
        keep(self.journal)

    def after_fork_in_child(self) -> None:
        """Give back what a fork of the caller has of its parent's worker."""
        self.sock.close()
        self.handle.after_fork_in_child()
        self.handle.release()
