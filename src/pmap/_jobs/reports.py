"""Reports bring to the caller what items print, log and warn of in worker processes.

A report goes to the caller's streams, loggers or filters of warnings, as if the item had run in the
caller's process.
"""

import io
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from .._errors import is_ctrl_c
from .._transport import protocol
from .._transport.exceptions import describe
from .._transport.values import loads
from .item_errors import INITIALIZER, logged
from .work import Work

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from .._transport.protocol import Stream


class Report(NamedTuple):
    """Output, a log record or a warning of an item, as its worker has sent it to the caller.

    `work` and `item` are the call and the index of the item; None if no item made the report.
    """

    kind: int
    data: bytes
    worker: int
    work: Work | None
    item: int | None


def streams_of_caller() -> "tuple[Stream, Stream]":
    """Return what workers have to know about this process's stdout and stderr."""
    return _described(sys.stdout), _described(sys.stderr)


def _described(stream: Any) -> "Stream":
    # The type is `Any`, because a program may put any object in the place of `sys.stdout`.
    encoding = getattr(stream, "encoding", None)
    errors = getattr(stream, "errors", None)
    try:
        terminal = bool(stream.isatty())
    except Exception:  # the stream is closed, or is an object without the method `isatty`
        terminal = False
    # Whether text is sent to the caller at once: text for a terminal is, and text for an object
    # that shows it in its own way, as in a notebook. Text for a file may wait in a buffer.
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
    """Pass a report on to a stream, a logger or `warnings`; only Ctrl-C is raised.

    Any other error of theirs costs no result. A warning says once what has failed.
    """
    try:
        if report.kind in (protocol.OUTPUT, protocol.ERRORS):
            from .progress_bar import above_bars  # few calls print anything

            # While progress bars are shown, whole lines are written above them. Half a line is not,
            # because tqdm would draw a bar over it.
            with above_bars() if report.data.endswith(b"\n") else nullcontext():
                _use_stream(report.work, report.kind, lambda stream: _write(stream, report.data))
        elif report.kind == protocol.FLUSH:
            _use_stream(report.work, report.data[0], lambda stream: stream.flush())
        elif report.kind == protocol.LOG:
            _log(report)
        else:
            _warn(*loads(report.data))
    except BaseException as error:
        # The program's own streams and log handlers may raise any exception, and disks may be full.
        if is_ctrl_c(error):
            raise
        _warn_of_failure(report, error)


_FAILED = {
    protocol.OUTPUT: "what items print could not be written to sys.stdout, and is lost",
    protocol.ERRORS: "what items print could not be written to sys.stderr, and is lost",
    protocol.LOG: "a log record of an item could not be handled by all log handlers",
    protocol.WARNING: "a warning of an item could not be shown",
}
_warned: set[str] = set()  # what `_warn_of_failure` has warned of


def _warn_of_failure(report: Report, error: BaseException) -> None:
    """Warn that a stream or a log handler of the program has failed, once for each failure."""
    kind = report.data[0] if report.kind == protocol.FLUSH else report.kind
    text = f"{_FAILED[kind]}: {describe(error)}"
    if text in _warned:
        return
    _warned.add(text)

    def warn() -> None:
        import warnings

        warnings.warn(text, RuntimeWarning, stacklevel=1)

    def log() -> None:
        import logging

        logging.getLogger("pmap").error("%s", text)

    # If the program has turned warnings into errors, or if `sys.stderr` is the stream that has
    # failed, the warning fails, too. Then it is logged.
    for tell in (warn, log):
        try:
            tell()
        except BaseException as second:
            if is_ctrl_c(second):
                raise
        else:
            return


def _use_stream(work: Work | None, kind: int, use: "Callable[[TextIO], None]") -> None:
    """Call the function `use` with the stream that the caller had when it made the call.

    If the caller had no stream, nothing is done.
    """
    out, err, context = (work and work.streams) or (sys.stdout, sys.stderr, None)
    stream = out if kind == protocol.OUTPUT else err
    if stream is None:
        return  # `sys.stdout` or `sys.stderr` is None: the text is dropped, as `print` drops it
    if context is None:
        use(stream)
    else:
        # A notebook finds the cell for the output by the caller's context. The context is copied,
        # because other code may have entered it, and it cannot be entered twice.
        context.copy().run(use, stream)


def _write(stream: TextIO, data: bytes) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(data.decode(encoding))
    except UnicodeError:  # the item has written to `sys.stdout.buffer` bytes that are no text
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data.decode(encoding, "backslashreplace"))
    if not data.endswith(b"\n"):
        # Text without a newline comes at the end of its item. The stream is flushed now, because a
        # newline that would flush it may never come.
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
    # While multiprocessing is not imported, logging calls each process `MainProcess`. That name
    # would be wrong for a worker, so the worker's own name is put in its place.
    if state["processName"] == "MainProcess":
        state["processName"] = f"pmap-worker-{report.worker}"
    record = logging.makeLogRecord(state)
    record.levelname = logging.getLevelName(record.levelno)
    record.pmap_item = index
    record.pmap_function = None if work is None else work.function_name
    return record


# Python keeps the warnings that were shown in the `__warningregistry__` of an imported module.
# Files whose module this process has not imported have theirs here.
_elsewhere: dict[str, dict[Any, Any]] = {}


def _warn(message: Warning, category: type[Warning], filename: str, lineno: int) -> None:
    import warnings

    module, registry = _registry(filename)
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def _registry(filename: str) -> tuple[str, dict[Any, Any]]:
    """Return the name of the module of a file, and its `__warningregistry__` (past warnings)."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name, vars(module).setdefault("__warningregistry__", {})
    # Python, too, uses the name of the file as the name of a module that it does not know. The name
    # must not be None, because then no warning would be shown.
    return filename.removesuffix(".py"), _elsewhere.setdefault(filename, {})
