"""A checkpoint file in use: all calls share one connection and one thread that writes.

Outcomes of items come from threads that run pmap's loop and may hold its lock. So these threads
only append the outcomes, as bytes, to a deque. The thread of the session takes all outcomes that
come within a hundredth of a second, and writes them in one transaction. If the process is killed,
the outcomes that are in the deque are lost.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Final, NamedTuple, Protocol

from .._errors import CheckpointError
from .._transport.light_stdlib import RLock
from .._transport.process_role import daemon
from .processes import BEAT
from .store import Row, Store

# The interval, in seconds, at which the thread of the session looks into the file for outcomes of
# items that another call is computing.
_LOOK: Final = 0.1
# If the thread of the session could not write to the file, it tries again after this many seconds.
_AGAIN: Final = 1.0
# The thread of the session writes all outcomes that come within this many seconds in one
# transaction: a transaction of one outcome takes about as long as a transaction of ten outcomes.
_GATHER: Final = 0.01
# At most this many outcomes that could not be written are kept to be written later. A later run has
# to compute all other items again.
_MOST_UNWRITTEN: Final = 100_000
# This many keys are looked up in one transaction; the number is small, so that the thread of the
# session can write outcomes between two transactions.
_TOGETHER: Final = 5_000


class KeptCall(Protocol):
    """What a session uses of a call whose results are kept."""

    number: int  # the number of the call in the file
    ended: bool  # whether the call has ended and given up its claims
    has_items: bool  # whether some items of the call have been claimed, and may have begun

    @property
    def holds(self) -> bool:
        """Whether any item waits for another call, which is computing the item."""
        ...

    def claims_left(self) -> list[tuple[bytes, int]]:
        """End the call; return (key, owner) for each of its claims on items without an outcome."""
        ...

    def look_at_held(self) -> None:
        """Decide about waiting items that have an outcome now, or that nobody computes any more."""
        ...


class Outcome(NamedTuple):
    """What is written to the file for an item: its call, and the arguments of `Store.write`."""

    keeping: KeptCall
    key: bytes
    place: int
    state: int
    data: bytes


class _End(NamedTuple):
    """Stands in the queue for the end of a call; `then` is called when the outcomes are written."""

    keeping: KeptCall
    then: Callable[[Exception | None], object]


class Session:
    """The use of one file by this process, while calls need the file."""

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            CheckpointError: the file cannot be used.
        """
        self._store = Store(path)
        # A thread holds this lock while it uses the connection, because only one thread at a time
        # may use the connection.
        self._lock = RLock()
        try:
            self.owner: int = self._store.add_owner()
        except BaseException:
            self._store.close()
            raise
        # The outcomes that the thread of the session has not taken yet.
        self._outcomes: deque[Outcome] = deque()
        # What else the session's thread has to do: end calls, give warnings. None: look for
        # outcomes, in the deque and in the file.
        self._queue: SimpleQueue[_End | str | None] = SimpleQueue()
        # Whether the thread of the session may be waiting for something in the queue, while the
        # deque of outcomes is empty.
        self._idle = True
        self._calls: set[KeptCall] = set()
        self._has_thread = False  # whether the thread was started; guarded by `_sessions_lock`
        self._unwritten: list[Outcome] = []
        self._error: CheckpointError | None = None
        self._last_beat = monotonic()
        # Some calls run an item only while the thread that made the call waits for results. For the
        # key of each such item: the identifier of that thread.
        self.threads: dict[bytes, int] = {}

    # --- for the threads that make calls ---------------------------------------------------------

    def add_call(self, keeping: KeptCall, verb: str, name: str, function: bytes) -> int:
        """Register a call; return its number in the file."""
        with self._lock:
            number = self._store.add_call(verb, name, function)
        with _sessions_lock:
            self._calls.add(keeping)
            # The session's thread may still run, even if no call was left: see `_leave`.
            if not self._has_thread:
                self._has_thread = True
                Thread(target=self._work, name="pmap-checkpoint", daemon=daemon()).start()
        return number

    def claim(
        self, keeping: KeptCall, places: dict[bytes, int], *, again: bool
    ) -> dict[bytes, Row]:
        """Claim items for a call, by `Store.claim`.

        If the call has ended, claim nothing. If the file cannot be written any more, claim nothing
        either, and return what the file has: then other runs may compute the other items, too.

        Raises:
            CheckpointError: these are the first items of the call, and cannot be claimed.
        """
        found: dict[bytes, Row] = {}
        keys = [*places]
        for start in range(0, len(keys), _TOGETHER):
            part = {key: places[key] for key in keys[start : start + _TOGETHER]}
            with self._lock:
                if keeping.ended:
                    break
                found.update(self._claimed(keeping, part, again))
        return found

    def _claimed(
        self, keeping: KeptCall, places: dict[bytes, int], again: bool
    ) -> dict[bytes, Row]:
        # After an error no claim is tried until outcomes can be written again: if the file is
        # locked, each try takes as long as SQLite waits.
        if self._error is None or not keeping.has_items:
            try:
                return self._store.claim(places, keeping.number, self.owner, again=again)
            except CheckpointError as error:
                if not keeping.has_items:
                    raise
                self.warn(_going_on(error))
                self._error = error
        try:
            return self._store.look(places, again=again)
        except CheckpointError:
            return {}

    def put(self, outcome: Outcome) -> None:
        """Queue an outcome; any thread may call this method, whatever locks it holds."""
        self._outcomes.append(outcome)
        # The thread of the session sets `_idle` before it looks into the deque. This thread reads
        # `_idle` after it has put the outcome into the deque. So at least one of the two threads
        # sees what the other thread has done.
        if self._idle:
            self._queue.put(None)

    def warn(self, text: str) -> None:
        """Queue a warning, which the thread of the session will give.

        This method does not give the warning itself: a warning may run code of the program, and the
        thread that calls this method may hold a lock.
        """
        self._queue.put(text)

    def look_soon(self) -> None:
        """Let the session look now for outcomes of waiting items; any thread may call this."""
        self._queue.put(None)

    def end_call(self, keeping: KeptCall, then: Callable[[Exception | None], object]) -> None:
        """Put the end of a call into the queue."""
        self._queue.put(_End(keeping, then))

    # --- for the thread that writes the file ------------------------------------------------------

    def _work(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # whatever the error is, no call may wait for ever
            self._end_all(error)
            raise

    def _end_all(self, error: BaseException) -> None:
        """End all calls with `error`, which shows a fault in pmap itself."""
        with _sessions_lock:
            if _sessions.get(self._store.real_path) is self:
                del _sessions[self._store.real_path]
        while self._calls:
            given = self._queue.get()
            if isinstance(given, _End):
                self._calls.discard(given.keeping)
                given.then(CheckpointError(self._store.path, f"cannot be written: {error!r}"))
        self._store.close()

    def _serve(self) -> None:
        over = False
        while not over:
            ends: list[_End] = []
            for given in self._received():
                if isinstance(given, str):
                    _warn(given)
                elif given is not None:
                    ends.append(given)
            # A call puts its end into the queue when all its outcomes are in the deque. So the
            # deque has all outcomes of the calls whose ends were taken from the queue.
            self._take_outcomes()
            with self._lock:  # the lock keeps other threads from claiming items for these calls
                given_up = [claim for end in ends for claim in end.keeping.claims_left()]
            self._write(given_up)
            outcomes = [(end.then, self._outcome_of(end.keeping)) for end in ends]
            self._look_at_held()
            self._beat()
            over = self._leave({end.keeping for end in ends})
            for then, error in outcomes:
                then(error)

    def _received(self) -> list[_End | str | None]:
        """Wait until the session's thread has something to do; return what is in the queue."""
        wait = BEAT
        if self._unwritten:
            wait = _AGAIN
        elif any(keeping.holds for keeping in self._calls):
            wait = _LOOK
        self._idle = True
        if self._outcomes:
            wait = 0
        found = self._queued(wait)
        self._idle = False
        if self._outcomes and not any(found):
            found += self._queued(_GATHER)
        return found

    def _queued(self, wait: float) -> list[_End | str | None]:
        """Return what is in the queue; if it is empty, wait for at most `wait` seconds."""
        found: list[_End | str | None] = []
        with suppress(Empty):
            found.append(self._queue.get(timeout=wait))
            while True:
                found.append(self._queue.get_nowait())
        return found

    def _take_outcomes(self) -> None:
        with suppress(IndexError):
            while True:
                self._unwritten.append(self._outcomes.popleft())

    def _write(self, given_up: list[tuple[bytes, int]]) -> None:
        if not (self._unwritten or given_up):
            return
        rows = [(o.key, o.keeping.number, o.place, o.state, o.data) for o in self._unwritten]
        try:
            with self._lock:
                self._store.write(rows, given_up)
        except CheckpointError as error:
            if self._error is None:
                _warn(_going_on(error))
            self._error = error
            del self._unwritten[:-_MOST_UNWRITTEN]
        else:
            self._unwritten.clear()
            self._error = None

    def _outcome_of(self, keeping: KeptCall) -> Exception | None:
        """Return the error of a call that ends, if some of its outcomes could not be written."""
        if self._error is None or all(o.keeping is not keeping for o in self._unwritten):
            return None
        self._unwritten = [o for o in self._unwritten if o.keeping is not keeping]
        error = CheckpointError(self._store.path, "")
        error.args = self._error.args
        error.__cause__ = self._error.__cause__
        return error

    def _look_at_held(self) -> None:
        for keeping in [*self._calls]:
            if keeping.holds:
                # If the file cannot be read at this moment, the session's thread tries later.
                with suppress(CheckpointError):
                    keeping.look_at_held()

    def _beat(self) -> None:
        if monotonic() - self._last_beat >= BEAT:
            self._last_beat = monotonic()
            with suppress(CheckpointError), self._lock:
                self._store.beat(self.owner)

    def _leave(self, ended: set[KeptCall]) -> bool:
        """Remove the calls that have ended; if none is left, close the file and return True."""
        with _sessions_lock:
            self._calls -= ended
            # `_awaited`: another thread may have got this session for a call that it has not added
            # yet.
            if self._calls or self._awaited:
                return False
            _sessions.pop(self._store.real_path, None)
        with suppress(CheckpointError), self._lock:
            self._store.remove_owner(self.owner)
        self._store.close()
        return True

    # For how many calls `enter` has returned this session that were not added to it yet.
    _awaited = 0


def _going_on(error: CheckpointError) -> str:
    return f"{error}. The call goes on, and writing is tried again"


def _warn(text: str) -> None:
    # A filter of the program may turn the warning into an error, which must not end this thread.
    with suppress(Exception):
        warnings.warn(text, RuntimeWarning, stacklevel=3)


# The sessions of this process, by the real paths of their files.
_sessions: dict[str, Session] = {}
_sessions_lock = RLock()
# In a forked process these are the sessions of the parent. They are never closed here, because
# closing their connections would release locks that the parent holds.
_of_parent: list[Session] = []


def enter(path: str) -> Session:
    """Return the session of a file, for a call that `add_call` will add next.

    Raises:
        CheckpointError: the file cannot be used.
    """
    # Two paths may lead to one file, if one is a symbolic link.
    real_path = os.path.realpath(path)
    with _sessions_lock:
        session = _sessions.get(real_path)
        if session is None:
            session = _sessions[real_path] = Session(path)
        session._awaited += 1
        return session


def entered(session: Session) -> None:
    """Record that a call, for which `enter` has returned a session, was added or is given up."""
    with _sessions_lock:
        session._awaited -= 1
        if session._awaited or session._calls:
            return
        if session._has_thread:
            # The thread of the session will find that no call is left, and will close the file.
            session.look_soon()
        else:
            _sessions.pop(session._store.real_path, None)
            session._store.close()


def _forget_parent() -> None:
    global _sessions_lock
    _sessions_lock = RLock()
    _of_parent.extend(_sessions.values())
    _sessions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
