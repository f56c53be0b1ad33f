"""What comes home beside results and what is printed: records of logging, and warnings.

Nothing of it is loaded before an item imports ``logging`` or ``warnings``.
"""

from __future__ import annotations

import sys

from .._transport.framing import frame
from .._transport.light_stdlib import get_ident
from .._transport.protocol import LOG, REPORT, WARNING
from .._transport.settings import default_filters
from .chunk import running_item
from .side_effects import imports

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._transport.protocol import Report
    from .._transport.settings import Settings
    from .log_records import Loggers
    from .warning_records import Warned


def _nowhere(data: bytes) -> None:
    """Stand for what sends, until it is known."""


class Reporting:
    """Sends records and warnings of this process home."""

    def __init__(self) -> None:
        self._send: Callable[[bytes], None] = _nowhere
        self._loggers: Loggers | None = None
        self._warned: Warned | None = None
        self._settings: Settings | None = None
        self._on = True
        self._forked = False
        self._thread = get_ident()  # which runs the items
        self._usual_filters = default_filters()

    def begin(self, send: Callable[[bytes], None], forked: bool) -> None:
        """Wait for the imports of the modules.

        Args:
            send: sends messages home.
            forked: from the caller, which may have the modules.
        """
        is_first = self._send is _nowhere
        self._send = send
        if not is_first:
            return  # before this process was forked: what the script has set stays
        self._forked = forked
        for name, take in (("logging", self._take_loggers), ("warnings", self._take_warnings)):
            if name in sys.modules:
                take()
            else:
                imports[name] = take

    def apply(self, settings: Settings, on: bool) -> None:
        """Put the caller's levels and filters in place; `on`: records of logging come home.

        For each chunk that begins.
        """
        if settings is not self._settings or on is not self._on:
            self._settings, self._on = settings, on
            filters, levels = settings[4:6]
            if self._loggers is not None:
                self._loggers.apply(levels, on)
            if self._warned is None and filters not in (None, self._usual_filters):
                import warnings  # noqa: F401  # pyright: ignore[reportUnusedImport]  # takes them
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
