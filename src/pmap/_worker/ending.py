"""The orderly end of a worker: functions registered with `atexit` and the like are called.

All of them together have two seconds.
"""

from __future__ import annotations

import sys

from .side_effects import end_after

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 2.0  # seconds for all exit callbacks, and for the wait for threads


def run_exit_callbacks() -> None:
    """Run the callbacks of ``atexit`` and ``multiprocessing.util.Finalize``; then wait for threads.

    Only threads that are no daemons are waited for. After `_LIMIT` seconds the system ends this
    process, whatever the process does.
    """
    import atexit

    given: Any = atexit
    threads: Any = sys.modules.get("threading")
    waits = threads is not None and any(
        not thread.daemon for thread in threads.enumerate() if thread is not threads.main_thread()
    )
    if not waits and not given._ncallbacks():
        return  # the usual case: no callback is registered and no thread is left
    end_after(_LIMIT)
    try:
        # As in multiprocessing, the functions run before the wait for threads, because a thread may
        # never end.
        given._run_exitfuncs()
        if threads is not None and waits:
            threads._shutdown()
    except BaseException:  # whatever these functions raise, the process goes on with its end
        pass
    end_after(0)
