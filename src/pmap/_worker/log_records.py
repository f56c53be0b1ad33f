"""Sending log records of a worker to the loggers of the caller.

A worker uses this module only when ``logging`` is imported in the worker. Only the records of
loggers without handlers are sent: if an initializer, say, gives a logger of the worker a handler,
the records of this logger go to the handler.
"""

from __future__ import annotations

import logging

from .._transport.failure_record import RAISED, capture
from .._transport.values import dumps

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .._transport.settings import Levels

_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


class HomeHandler(logging.Handler):
    """Sends log records to the caller; replaces ``logging.lastResort`` in a worker."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Pickle each log record and call `send` with the bytes."""
        super().__init__()
        self._send = send
        self._usual = logging.lastResort
        self.on = True

    def emit(self, record: logging.LogRecord) -> None:
        if self.on:
            self._send(_packed(record))
        elif self._usual is not None and record.levelno >= self._usual.level:
            self._usual.emit(record)


def _packed(record: logging.LogRecord) -> bytes:
    state = dict(record.__dict__)
    if type(state["msg"]) is not str or not _are_plain(record.args):
        # The text of the record is made now, because the arguments may change later, or be large.
        state["msg"], state["args"] = record.getMessage(), None
    if record.exc_info:
        error = record.exc_info[1]
        failure = state["exc_info"] = None if error is None else capture(error)
        if record.exc_text is None and (failure is None or failure[0] != RAISED):
            # The exception cannot be pickled, so this worker makes its text. Otherwise the caller
            # makes the text, because it has the source lines of a REPL and its own formatters.
            state["exc_text"] = logging.Formatter().formatException(record.exc_info)
    try:
        return dumps(state)
    except Exception:  # the program has given the record an attribute that cannot be pickled
        return dumps({name: _plainly(name, value) for name, value in state.items()})


def _are_plain(args: Sequence[object] | Mapping[str, object] | None) -> bool:
    return args is None or (isinstance(args, tuple) and set(map(type, args)) <= _PLAIN)


def _plainly(name: str, value: object) -> object:
    return value if type(value) in _PLAIN or name in ("args", "exc_info") else repr(value)


class Loggers:
    """Gives the loggers of this worker process the levels that the caller's loggers have."""

    def __init__(self, send: Callable[[bytes], None], inherited: bool) -> None:
        """Take over the log records of this process, so that they go to the caller.

        Args:
            send: called with each pickled log record.
            inherited: whether this process was forked from the caller, and so has its log handlers.
        """
        self._handler = HomeHandler(send)
        logging.lastResort = self._handler
        usual = logging.basicConfig

        def configure(**given: Any) -> None:
            # `logging.info` and the like call `basicConfig` without arguments if the root logger
            # has no handler. In a worker such a call must not add a handler, or records would not
            # reach the caller.
            if given:
                usual(**given)

        logging.basicConfig = configure
        if inherited:
            for logger in _all_loggers():
                logger.handlers = []
        self._levels: Levels | None = None

    def apply(self, levels: Levels | None, on: bool) -> None:
        """Give the loggers the levels of the caller's loggers, if the caller has changed any level.

        Args:
            levels: the levels of the caller's loggers; None: the levels here stay.
            on: whether log records are sent to the caller.
        """
        self._handler.on = on
        if levels is None or levels == self._levels:
            return  # the caller has sent no new levels, so levels that an initializer has set stay
        old, self._levels = self._levels, levels
        disabled, given = levels
        for name, _ in () if old is None else old[1]:
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in given:
            logging.getLogger(name).setLevel(level)
        logging.disable(disabled)


def _all_loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.values())
    return [logging.root, *[each for each in known if isinstance(each, logging.Logger)]]
