"""All errors that pmap itself raises, as a tree of classes.

PmapError                      all of them; a RuntimeError
├── OptionError                an option is wrong (also a ValueError and a TypeError)
├── PoolClosedError            the pool takes no more work (also a ValueError)
├── WorkerStartError           no worker could be started, or the initializer failed
├── CancelledError             the work was cancelled before this result was there
├── CheckpointError            the file of a checkpoint could not be used, or not be written
├── InterruptedPoolError       a signal's exception interrupted a change of the pool's state
└── ItemError                  one item has no result; knows function, index and input
    ├── WorkerLost             its worker process died
    ├── TaskTimeout            it ran for longer than it may (also a TimeoutError)
    ├── ControlFlowError       it raised SystemExit, KeyboardInterrupt, StopIteration, ...
    └── TransportError         an object could not be sent from one process to the other

An error keeps its arguments as attributes; its pickle contains these and its cause. The classes
that also derive from those of ``multiprocessing`` and ``pickle`` are in
``_multiprocessing_errors``. That module is imported when one of them is needed, because to import
it takes longer than to import pmap.
"""

from ._transport.exceptions import rebuilt, without_repr


def _rebuilt(
    cls: type["PmapError"],
    args: tuple[object, ...],
    fields: dict[str, object],
    cause: BaseException | None,
) -> "PmapError":
    error = rebuilt(cls, args, fields)
    error.__cause__ = cause
    return error


class PmapError(RuntimeError):
    """The base class of all errors that pmap itself raises."""

    def __reduce__(self) -> tuple[object, ...]:
        # When a pickle of the error is loaded, `__init__` is not called, because its parameters are
        # not those in `self.args`.
        return _rebuilt, (type(self), self.args, self.__dict__, self.__cause__)


def _shown(value: object) -> str:
    """Return the repr of a value for a message; if the repr fails, return another text."""
    try:
        text = repr(value)
    except BaseException as error:
        # A user's `__repr__` may raise anything, but the message is needed all the same.
        if is_ctrl_c(error):
            raise
        text = without_repr(value, error)
    return text if len(text) <= 80 else text[:77] + "..."


class OptionError(PmapError, ValueError, TypeError):
    """An option does not exist, or has a value that is not allowed.

    Attributes:
        option: the name of the option.
        value: the value that was given.
        allowed: what is allowed, in words.
    """

    def __init__(self, option: str, value: object, allowed: str) -> None:
        self.option = option
        self.value = value
        self.allowed = allowed
        super().__init__(f"{option}={_shown(value)} is not possible: {allowed}")


class PoolClosedError(PmapError, ValueError):
    """The pool was closed or terminated, or belongs to another process (the parent of a fork)."""


class WorkerStartError(PmapError):
    """No worker could be started, and pmap gave up after some attempts.

    Attributes:
        attempts: how many workers in a row failed to start.
        reason: how the last one failed. An initializer's exception is the ``__cause__``.
    """

    def __init__(self, attempts: int, reason: str) -> None:
        self.attempts = attempts
        self.reason = reason
        times = "once" if attempts == 1 else f"{attempts} times in a row"
        super().__init__(
            f"a worker could not be started, {times}: {reason}. "
            "The pool can be used again; if an initializer was given, look there first"
        )


class CancelledError(PmapError):
    """The work was cancelled, or its pool terminated, before this result was there."""


class CheckpointError(PmapError):
    """The file of a checkpoint could not be used, or results could not be written to it.

    The error of SQLite is the ``__cause__``.

    Attributes:
        path: the path of the file.
        results: what the call would have returned, if only the writing failed: then no result is
            lost. None: nothing has run; or the call was a stream, whose results were taken before.
    """

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.results: object = None
        super().__init__(f"the checkpoint {path!r} {why}")


class InterruptedPoolError(PmapError):
    """A signal's exception interrupted a change of the pool's state.

    The state might be wrong. So the pool has ended all its workers, and all calls in progress with
    them. The pool can be used again.
    """


class ItemError(PmapError):
    """One item has no result. The base class of the errors that pmap raises for such an item.

    Attributes:
        function: the name of the function.
        index: the position of the item in the input; None if the function itself is meant.
        input: a short repr of the item.
    """

    def __init__(self, message: str, *, function: str, index: int | None, input: str) -> None:
        self.function = function
        self.index = index
        self.input = input
        # `Exception` is called by its name. `super()` may find a standard class behind this one,
        # whose __init__ takes other arguments (`MaybeEncodingError`, from Python 3.14 on).
        Exception.__init__(self, message)


class WorkerLost(ItemError):
    """The worker process died while it ran this item.

    Attributes:
        begun: whether the function had been called; if not, several workers died before that.
        pid: the process id of the worker.
        exitcode: its exit code; if a signal killed it, the negative number of the signal; None if
            the operating system did not report it.
        reason: why pmap itself ended the worker; empty if it did not. Or what the engine said that
            ran the worker.
        host: the machine of the worker, if an engine has chosen it; else empty.
    """

    def __init__(
        self,
        *,
        pid: int,
        exitcode: int | None,
        function: str,
        index: int,
        input: str,
        begun: bool = True,
        reason: str = "",
        host: str = "",
    ) -> None:
        self.reason = reason
        self.host = host
        self.pid = pid
        self.exitcode = exitcode
        self.begun = begun
        when = "while it ran" if begun else "as several before it, before it could begin"
        who = f"the worker process {pid}" if pid else "the worker"
        super().__init__(
            f"{who}{f' on {host}' if host else ''} {how_it_ended(exitcode)} {when} item {index}, "
            f"{function}({input})" + (f": {reason}" if reason else f". {_advice(exitcode)}"),
            function=function,
            index=index,
            input=input,
        )


class TaskTimeout(ItemError, TimeoutError):
    """The item ran for longer than its timeout, and pmap ended it.

    If the worker could still say where the item was, the traceback ends there.

    Attributes:
        limit: the timeout of the item, in seconds.
        stack: where the item was, as text; empty if the worker could not say.
    """

    def __init__(
        self, *, limit: float, function: str, index: int, input: str, stack: str = ""
    ) -> None:
        self.limit = limit
        self.stack = stack
        super().__init__(
            f"item {index}, {function}({input}), ran for longer than its timeout of {limit:g} s "
            "and was ended",
            function=function,
            index=index,
            input=input,
        )


class ControlFlowError(ItemError):
    """The item raised an exception that would end the caller's own code or cut it short.

    SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration and every other exception that is
    not an ordinary error would end the calling program without a message, or end a loop early. The
    exception is the ``__cause__`` of this error.
    """

    def __init__(self, raised: str, *, function: str, index: int, input: str) -> None:
        self.raised = raised
        super().__init__(
            f"item {index}, {function}({input}), raised {raised}, which cannot be passed on as it "
            "is: it would end or cut short the calling code. Raise an ordinary exception to "
            "report an error, or return a value to end an item early",
            function=function,
            index=index,
            input=input,
        )


class TransportError(ItemError):
    """An object could not be sent from the caller to the worker or back.

    Attributes:
        what: "function", "initializer", "argument", "result" or "exception".
        side: "caller" or "worker": the process in which it failed.
        why: the reason, in words.
    """

    def __init__(
        self, what: str, side: str, why: str, *, function: str, index: int | None, input: str
    ) -> None:
        self.what = what
        self.side = side
        self.why = why
        super().__init__(
            transport_message(what, side, why, function, index, input),
            function=function,
            index=index,
            input=input,
        )


def transport_message(
    what: str, side: str, why: str, function: str, index: int | None, input: str
) -> str:
    """Return the text of a `TransportError`."""
    place = "the worker" if side == "worker" else "the calling process"
    if index is None:
        return f"the {what} {function} could not be sent: in {place}, {why}"
    verb = {
        "function": "could not be loaded",
        "argument": "could not be pickled" if side == "caller" else "could not be loaded",
        "result": "could not be pickled" if side == "worker" else "could not be loaded",
    }.get(what, "could not be sent")
    return f"the {what} of item {index}, {function}({input}), {verb} in {place}: {why}"


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether `error` may come from Ctrl-C: then it has to reach the caller.

    Python raises a Ctrl-C in the main thread only. A KeyboardInterrupt in another thread was raised
    by some object of the user, and is a failure of that object. If it were passed on, it would end
    that thread of pmap, and with it all other calls.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    import threading

    return threading.current_thread() is threading.main_thread()


# Windows has ended a process itself if its exit code is at least this. Some of these codes have
# names.
_FIRST_CRASH = 0xC0000000
_CRASHES: dict[int, str] = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC00000FD: "stack overflow",
    0xC000013A: "Ctrl-C or Ctrl-Break",
    0xC0000374: "heap corruption",
    0xC0000409: "abort",
}


def how_it_ended(exitcode: int | None) -> str:
    """Return in words how a process has ended.

    >>> how_it_ended(3), how_it_ended(-11)
    ('exited with code 3', 'was killed by SIGSEGV')
    >>> how_it_ended(0xC0000005)  # on Windows
    'crashed with 0xC0000005 (access violation)'
    """
    if exitcode is None:
        return "ended, how is not known,"
    if exitcode >= _FIRST_CRASH:
        name = _CRASHES.get(exitcode, "")
        return f"crashed with {exitcode:#010X}".replace("0X", "0x") + (f" ({name})" if name else "")
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    return f"was killed by {_signal_name(-exitcode) or f'signal {-exitcode}'}"


def _signal_name(number: int) -> str:
    """Return the name of a signal; empty if the number is that of no signal."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


_ADVICE: dict[str, str] = {
    "SIGKILL": "The kernel sends SIGKILL when memory runs out: look at the memory the function "
    "needs, or use fewer processes",
    "SIGSEGV": "A crash in C code: run the item alone with `python -X faulthandler` to see where",
    "SIGBUS": "A crash in C code, or a full disk under a memory map",
    "SIGABRT": "C code called abort(): its message is on stderr",
    "SIGTERM": "Something asked the process to end",
}


def _advice(exitcode: int | None) -> str:
    if exitcode is not None and exitcode >= _FIRST_CRASH:
        return _ADVICE["SIGSEGV"]
    if exitcode is not None and exitcode >= 0:
        return "Something in the item called os._exit, or the interpreter itself gave up"
    name = "" if exitcode is None else _signal_name(-exitcode)
    return _ADVICE.get(name, "Only this item is lost")
