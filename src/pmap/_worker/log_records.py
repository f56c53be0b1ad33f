"""Records of a worker's loggers, sent to the caller's: imported when an item imports ``logging``.

Only those of loggers without handlers: who gives a worker's logger a handler, as in an initializer,
has them there.
"""

from __future__ import annotations

import logging

from .._transport.failure_record import capture
from .._transport.values import dumps

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .._transport.settings import Levels

_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


class HomeHandler(logging.Handler):
    """Sends records home; stands where Python has the handler of last resort."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Send them by `send`, pickled."""
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
        # As it is now: what it is made of may change, or be large.
        state["msg"], state["args"] = record.getMessage(), None
    if record.exc_info:
        error = record.exc_info[1]
        state["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        state["exc_info"] = None if error is None else capture(error)
    try:
        return dumps(state)
    except Exception:  # what the program itself has added
        return dumps({name: _plainly(name, value) for name, value in state.items()})


def _are_plain(args: Sequence[object] | Mapping[str, object] | None) -> bool:
    return args is None or (isinstance(args, tuple) and set(map(type, args)) <= _PLAIN)


def _plainly(name: str, value: object) -> object:
    return value if type(value) in _PLAIN or name in ("args", "exc_info") else repr(value)


class Loggers:
    """The loggers of this process: what levels they have from the caller."""

    def __init__(self, send: Callable[[bytes], None], inherited: bool) -> None:
        """Send records home; `inherited`: there are handlers of the caller, in a fork of it."""
        self._handler = HomeHandler(send)
        logging.lastResort = self._handler
        usual = logging.basicConfig

        def configure(**given: Any) -> None:
            # `logging.info` and the like call it, with nothing, where the root has no handler.
            if given:
                usual(**given)

        logging.basicConfig = configure
        if inherited:
            for logger in _all_loggers():
                logger.handlers = []
        self._levels: Levels | None = None

    def apply(self, levels: Levels | None, on: bool) -> None:
        """Give loggers the levels of the caller's, unless it has changed none since the last time.

        `on`: records are sent home.
        """
        self._handler.on = on
        if levels is None or levels == self._levels:
            return  # what an initializer has set stays
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
