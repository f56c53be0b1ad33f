"""What an item printed, logged or warned of in another process, passed on at the caller.

It goes to the caller's streams, loggers and filters of warnings, as if the item had run here.
"""

import io
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from .._errors import is_ctrl_c
from .._transport import protocol
from .._transport.values import loads
from .item_errors import INITIALIZER, restore
from .progress_bar import above_bars
from .work import Work

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from .._transport.protocol import Stream


class Report(NamedTuple):
    """What came from a worker beside results: see `protocol.REPORT`.

    `work` and `item`: which item it is of; None where no item is known.
    """

    kind: int
    data: bytes
    worker: int
    work: Work | None
    item: int | None


def streams_of_caller() -> "tuple[Stream, Stream]":
    """Return what a worker is to know of this process's stdout and stderr."""
    return _described(sys.stdout), _described(sys.stderr)


def _described(stream: Any) -> "Stream":
    # Any: a program may put anything in their place.
    encoding = getattr(stream, "encoding", None)
    errors = getattr(stream, "errors", None)
    try:
        terminal = bool(stream.isatty())
    except Exception:  # it is closed, or has no such method
        terminal = False
    # A file takes its time. A terminal does not, nor what shows text in its own way, as a notebook.
    at_once = not isinstance(stream, io.StringIO)
    if isinstance(stream, io.TextIOWrapper):
        at_once = terminal or stream.line_buffering or stream.write_through
    return (
        encoding if isinstance(encoding, str) else "utf-8",
        errors if isinstance(errors, str) else "backslashreplace",
        at_once,
        terminal,
    )


def pass_on(report: Report) -> None:
    """Give a report to whom it is for; what that raises is of no one's call, but for Ctrl-C."""
    try:
        if report.kind in (protocol.OUTPUT, protocol.ERRORS):
            # What is no whole line, a bar would be drawn over.
            with above_bars() if report.data.endswith(b"\n") else nullcontext():
                _use_stream(report.work, report.kind, lambda stream: _write(stream, report.data))
        elif report.kind == protocol.FLUSH:
            _use_stream(report.work, report.data[0], lambda stream: stream.flush())
        elif report.kind == protocol.LOG:
            _log(report)
        else:
            _warn(*loads(report.data))
    except BaseException as error:  # the streams and handlers of the program may do anything
        if is_ctrl_c(error):
            raise


def _use_stream(work: Work | None, kind: int, use: "Callable[[TextIO], None]") -> None:
    """Call `use` with the stream of the caller that items of a call print to, if there is one."""
    out, err, context = (work and work.streams) or (sys.stdout, sys.stderr, None)
    stream = out if kind == protocol.OUTPUT else err
    if stream is None:
        return  # as print does, where there is none
    if context is None:
        use(stream)
    else:
        # A notebook finds out by it which cell this is of. A copy: it may be entered already.
        context.copy().run(use, stream)


def _write(stream: TextIO, data: bytes) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(data.decode(encoding))
    except UnicodeError:  # bytes that an item has written to its `sys.stdout.buffer`
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data.decode(encoding, "backslashreplace"))
    if not data.endswith(b"\n"):
        stream.flush()  # the item has ended: it is to be seen, as the lines before it


def _log(report: Report) -> None:
    import logging

    state: dict[str, Any] = loads(report.data)
    logger = logging.getLogger("" if state["name"] == "root" else state["name"])
    if logger.isEnabledFor(state["levelno"]):
        logger.handle(_record(state, report))


def _record(state: dict[str, Any], report: Report) -> "logging.LogRecord":
    import logging

    work, index = report.work, report.item
    failure = state["exc_info"]
    if failure is not None:
        item = INITIALIZER if work is None or index is None else work.item(index)
        error = restore(failure, item)
        state["exc_info"] = type(error), error, error.__traceback__
    if state["processName"] == "MainProcess":  # as it is where multiprocessing was not imported
        state["processName"] = f"pmap-worker-{report.worker}"
    record = logging.makeLogRecord(state)
    record.levelname = logging.getLevelName(record.levelno)
    record.pmap_item = index
    record.pmap_function = None if work is None else work.function_name
    return record


# What was shown of modules that this process does not have.
_elsewhere: dict[str, dict[Any, Any]] = {}


def _warn(message: Warning, category: type[Warning], filename: str, lineno: int) -> None:
    import warnings

    module, registry = _registry(filename)
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def _registry(filename: str) -> tuple[str, dict[Any, Any]]:
    """Return the name of the module of a file, and which of its warnings were shown."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name, vars(module).setdefault("__warningregistry__", {})
    # As Python names the module where nothing is known of it; of a module None nothing is shown.
    return filename.removesuffix(".py"), _elsewhere.setdefault(filename, {})
