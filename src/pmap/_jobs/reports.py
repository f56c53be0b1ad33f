"""Reports: output, log records and warnings of items in worker processes, passed on at the caller.

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
    """A message from a worker about output, a log record or a warning: see `protocol.REPORT`.

    `work` and `item`: the call and the index of the item that made the report; None if no item did.
    """

    kind: int
    data: bytes
    worker: int
    work: Work | None
    item: int | None


def streams_of_caller() -> "tuple[Stream, Stream]":
    """Return the properties of this process's stdout and stderr that a worker needs to know."""
    return _described(sys.stdout), _described(sys.stderr)


def _described(stream: Any) -> "Stream":
    # The type is `Any`: a program may put any object in the place of `sys.stdout`.
    encoding = getattr(stream, "encoding", None)
    errors = getattr(stream, "errors", None)
    try:
        terminal = bool(stream.isatty())
    except Exception:  # the stream is closed, or has no method `isatty`
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
    """Pass a report on to a stream, a logger or the warnings; ignore errors except Ctrl-C."""
    try:
        if report.kind in (protocol.OUTPUT, protocol.ERRORS):
            # Only whole lines are written above the bars: a bar would be drawn over half a line.
            with above_bars() if report.data.endswith(b"\n") else nullcontext():
                _use_stream(report.work, report.kind, lambda stream: _write(stream, report.data))
        elif report.kind == protocol.FLUSH:
            _use_stream(report.work, report.data[0], lambda stream: stream.flush())
        elif report.kind == protocol.LOG:
            _log(report)
        else:
            _warn(*loads(report.data))
    except BaseException as error:  # the program's streams and handlers may raise any exception
        if is_ctrl_c(error):
            raise


def _use_stream(work: Work | None, kind: int, use: "Callable[[TextIO], None]") -> None:
    """Call `use` with the caller's stream that the items of a call print to, if there is one."""
    out, err, context = (work and work.streams) or (sys.stdout, sys.stderr, None)
    stream = out if kind == protocol.OUTPUT else err
    if stream is None:
        return  # `sys.stdout` or `sys.stderr` is None: the output is lost, as `print` loses it
    if context is None:
        use(stream)
    else:
        # By the context a notebook finds the cell to which the output belongs. The context is
        # copied, because the original may be entered already.
        context.copy().run(use, stream)


def _write(stream: TextIO, data: bytes) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(data.decode(encoding))
    except UnicodeError:  # the item has written bytes, no text, to its `sys.stdout.buffer`
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data.decode(encoding, "backslashreplace"))
    if not data.endswith(b"\n"):
        stream.flush()  # the item has ended, and its last text without a newline is to be seen


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
    # A worker that has not imported multiprocessing logs the name `MainProcess`.
    if state["processName"] == "MainProcess":
        state["processName"] = f"pmap-worker-{report.worker}"
    record = logging.makeLogRecord(state)
    record.levelname = logging.getLevelName(record.levelno)
    record.pmap_item = index
    record.pmap_function = None if work is None else work.function_name
    return record


# Which warnings were shown, by file, for modules that this process has not imported.
_elsewhere: dict[str, dict[Any, Any]] = {}


def _warn(message: Warning, category: type[Warning], filename: str, lineno: int) -> None:
    import warnings

    module, registry = _registry(filename)
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def _registry(filename: str) -> tuple[str, dict[Any, Any]]:
    """Return the name of the module of a file, and the registry of the module's shown warnings."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name, vars(module).setdefault("__warningregistry__", {})
    # Without a known module Python uses the file's name as the module's name. The name must not be
    # None, because then no warning would be shown.
    return filename.removesuffix(".py"), _elsewhere.setdefault(filename, {})
