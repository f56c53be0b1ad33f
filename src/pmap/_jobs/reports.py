"""Reports, which carry what items print, log and warn of in worker processes to the caller.

A report goes to the caller's streams, loggers or filters of warnings, as if the item had run in the
caller's process.
"""

import io
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from .._errors import is_ctrl_c
from .._transport import protocol
from .._transport.values import loads
from .item_errors import INITIALIZER, logged
from .progress_bar import above_bars
from .work import Work

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from .._transport.protocol import Stream


class Report(NamedTuple):
    """What a worker has sent of an item's output, log record or warning.

    `work` and `item`: the call and the index of the item that made the report; None if no item did.
    """

    kind: int
    data: bytes
    worker: int
    work: Work | None
    item: int | None


def streams_of_caller() -> "tuple[Stream, Stream]":
    """Return what workers need to know of this process's stdout and stderr, such as encodings."""
    return _described(sys.stdout), _described(sys.stderr)


def _described(stream: Any) -> "Stream":
    # The type checker is told nothing about the stream: a program may put any object in the place
    # of `sys.stdout`.
    encoding = getattr(stream, "encoding", None)
    errors = getattr(stream, "errors", None)
    try:
        terminal = bool(stream.isatty())
    except Exception:  # the stream is closed, or is an object without the method `isatty`
        terminal = False
    # Text for a file may wait in a buffer. Text for a terminal, or for an object that shows text in
    # its own way, as in a notebook, is sent to the caller at once.
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
    """Pass a report on to a stream, a logger or `warnings`; ignore all errors but Ctrl-C."""
    try:
        if report.kind in (protocol.OUTPUT, protocol.ERRORS):
            # If progress bars are shown, whole lines are written above them; after half a line a
            # bar would be drawn over the text.
            with above_bars() if report.data.endswith(b"\n") else nullcontext():
                _use_stream(report.work, report.kind, lambda stream: _write(stream, report.data))
        elif report.kind == protocol.FLUSH:
            _use_stream(report.work, report.data[0], lambda stream: stream.flush())
        elif report.kind == protocol.LOG:
            _log(report)
        else:
            _warn(*loads(report.data))
    except BaseException as error:
        # the program's own streams and log handlers may raise any exception
        if is_ctrl_c(error):
            raise


def _use_stream(work: Work | None, kind: int, use: "Callable[[TextIO], None]") -> None:
    """Call the function `use` with the stream that was the caller's when the call was made.

    Nothing is done if there was no stream.
    """
    out, err, context = (work and work.streams) or (sys.stdout, sys.stderr, None)
    stream = out if kind == protocol.OUTPUT else err
    if stream is None:
        return  # `sys.stdout` or `sys.stderr` is None: the text is dropped, as `print` drops it
    if context is None:
        use(stream)
    else:
        # A notebook finds by the caller's context to which cell the output belongs. The context is
        # copied, because the original may be entered already.
        context.copy().run(use, stream)


def _write(stream: TextIO, data: bytes) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(data.decode(encoding))
    except UnicodeError:  # the item has written bytes that are no text, by `sys.stdout.buffer`
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data.decode(encoding, "backslashreplace"))
    if not data.endswith(b"\n"):
        # The stream is flushed, because the item has ended, and its last text may have no newline.
        stream.flush()


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
        error = logged(failure, item)
        state["exc_info"] = type(error), error, error.__traceback__
    # `MainProcess` is what logging calls the process if multiprocessing is not imported. For a
    # worker it would be wrong, so the worker's name is put there.
    if state["processName"] == "MainProcess":
        state["processName"] = f"pmap-worker-{report.worker}"
    record = logging.makeLogRecord(state)
    record.levelname = logging.getLevelName(record.levelno)
    record.pmap_item = index
    record.pmap_function = None if work is None else work.function_name
    return record


# For files whose module this process has not imported: which warnings of the file were shown, as
# Python keeps it in a module's `__warningregistry__`.
_elsewhere: dict[str, dict[Any, Any]] = {}


def _warn(message: Warning, category: type[Warning], filename: str, lineno: int) -> None:
    import warnings

    module, registry = _registry(filename)
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def _registry(filename: str) -> tuple[str, dict[Any, Any]]:
    """Return the name of the module of a file, and its `__warningregistry__` (shown warnings)."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name, vars(module).setdefault("__warningregistry__", {})
    # For an unknown module Python uses the name of the file as the name of the module. The name
    # must not be None, because then no warning would be shown.
    return filename.removesuffix(".py"), _elsewhere.setdefault(filename, {})
