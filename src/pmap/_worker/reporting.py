"""Log records and warnings of items, which a worker sends to its caller.

The modules `log_records` and `warning_records` have the code for this. A worker uses each of them
only when ``logging`` or ``warnings`` is imported in the worker.
"""

from __future__ import annotations

import sys

from .._transport.framing import frame
from .._transport.light_stdlib import get_ident
from .._transport.protocol import LOG, REPORT, WARNING
from .._transport.settings import default_filters
from .chunk import running_item
from .side_effects import imports

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._transport.protocol import Report
    from .._transport.settings import Settings
    from .log_records import Loggers
    from .warning_records import Warned


def _nowhere(data: bytes) -> None:
    """Drop a message.

    This function is used until `Reporting.begin` is given the function that sends messages.
    """


class Reporting:
    """Sends the log records and the warnings of this worker process to the caller."""

    def __init__(self) -> None:
        self._send: Callable[[bytes], None] = _nowhere
        self._loggers: Loggers | None = None
        self._warned: Warned | None = None
        self._settings: Settings | None = None
        self._on = True
        self._forked = False
        self._thread = get_ident()  # the number of the thread that runs the items
        self._usual_filters = default_filters()

    def begin(self, send: Callable[[bytes], None], forked: bool) -> None:
        """Take over ``logging`` and ``warnings``: now if they are imported, else at their import.

        Args:
            send: sends messages to the caller.
            forked: whether this process was forked from the caller, which may have given loggers
                handlers.
        """
        is_first = self._send is _nowhere
        self._send = send
        if not is_first:
            # This worker was forked from a process that has imported the user's script. `begin` was
            # called there already, and what the script has set in ``logging`` and ``warnings``
            # stays.
            return
        self._forked = forked
        for name, take in (("logging", self._take_loggers), ("warnings", self._take_warnings)):
            if name in sys.modules:
                take()
            else:
                imports[name] = take

    def apply(self, settings: Settings, on: bool) -> None:
        """Put the caller's log levels and warning filters in place, before the items of a call run.

        `on`: whether log records are sent to the caller.
        """
        if settings is not self._settings or on is not self._on:
            self._settings, self._on = settings, on
            filters, levels = settings[4:6]
            if self._loggers is not None:
                self._loggers.apply(levels, on)
            if self._warned is None and filters not in (None, self._usual_filters):
                # The hook for this import, `_take_warnings`, makes the object that handles warnings
                # here.
                import warnings  # noqa: F401  # pyright: ignore[reportUnusedImport]
            if self._warned is not None:
                self._warned.apply(filters)
        elif self._warned is not None and self._warned.has_to_do:
            self._warned.apply(settings[4])

    def _take_loggers(self) -> None:
        from .log_records import Loggers

        self._loggers = Loggers(self._sender(LOG), self._forked)
        self._loggers.apply(None if self._settings is None else self._settings[5], self._on)

    def _take_warnings(self) -> None:
        from .warning_records import Warned

        self._warned = Warned(self._sender(WARNING))

    def _sender(self, kind: int) -> Callable[[bytes], None]:
        def send(data: bytes) -> None:
            report: Report = REPORT, kind, running_item(self._thread), data
            self._send(frame(report))

        return send
