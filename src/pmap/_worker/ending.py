"""The orderly end of a worker: what was registered for it runs, for two seconds at most."""

from __future__ import annotations

import sys

from .._transport.light_stdlib import signal

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 2.0  # seconds, for all of it


def run_exit_callbacks() -> None:
    """Run what ``atexit`` and ``multiprocessing.util.Finalize`` know, then wait for threads.

    After the limit the process is ended, whatever keeps it.
    """
    import atexit

    given: Any = atexit
    threads: Any = sys.modules.get("threading")
    waits = threads is not None and any(
        not thread.daemon for thread in threads.enumerate() if thread is not threads.main_thread()
    )
    if not waits and not given._ncallbacks():
        return  # as mostly
    if hasattr(signal, "setitimer"):
        # Without a handler it ends the process, also what never lets go of the interpreter's lock.
        # Not faulthandler's timer: a fork of a program that has one running would wait for it.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, _LIMIT)
    try:
        # First, as in multiprocessing: threads that do not end must not keep these from it.
        given._run_exitfuncs()
        if threads is not None and waits:
            threads._shutdown()
    except BaseException:  # whatever they raise, the process ends
        pass
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
