"""The signals by which tests end processes, and what that makes of the exit code.

Workers import this, so it imports little.
"""

import os
import signal
from typing import Final

# Windows has no SIGKILL: there `os.kill` ends a process at once by any signal, and the number is
# the exit code.
KILL: Final = signal.Signals(getattr(signal, "SIGKILL", signal.SIGTERM))
_ACCESS_VIOLATION: Final = 0xC0000005


def ended_by(number: signal.Signals) -> int:
    """Return the exit code of a process that a signal has ended, without a handler."""
    if os.name == "posix":
        return -number
    return {signal.SIGSEGV: _ACCESS_VIOLATION, signal.SIGABRT: 3}.get(number, int(number))


def says(number: signal.Signals) -> str:
    """Return how the library says that a signal has ended a process."""
    if os.name == "posix":
        return f"killed by {number.name}"
    code = ended_by(number)
    return "0xC0000005 (access violation)" if number == signal.SIGSEGV else f"with code {code}"
