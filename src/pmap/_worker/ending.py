"""The orderly end of a worker: what was registered for it runs, for two seconds at most."""

from __future__ import annotations

import sys

from .side_effects import end_after

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
    end_after(_LIMIT)
    try:
        # First, as in multiprocessing: threads that do not end must not keep these from it.
        given._run_exitfuncs()
        if threads is not None and waits:
            threads._shutdown()
    except BaseException:  # whatever they raise, the process ends
        pass
    end_after(0)
