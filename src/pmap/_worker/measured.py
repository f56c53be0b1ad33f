"""If coverage.py measures a worker, the worker saves the data with each chunk of items.

The worker saves the data before it sends the last results of the chunk. To save at the end of the
worker would be too late, because the caller may kill a worker that it needs no more. A worker that
has neither coverage.py's option ``parallel`` nor a configuration file from the caller saves
nothing: its data would overwrite the data of the caller.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NO_WORD_OF = ["no-data-collected", "module-not-measured", "module-not-imported", "no-sysmon"]


def saver(config: str | None) -> Callable[[], None] | None:
    """Return a function that saves what coverage.py has measured so far in this process.

    Return None if coverage.py does not measure this process.

    `config`: the configuration file that coverage.py, in the caller, uses for the processes that
    `multiprocessing` starts; None: coverage.py does not measure these processes.
    """
    if config is None and "coverage" not in sys.modules:
        return None
    try:
        import coverage

        # The type is `Any`, because the program may have any version of coverage.py.
        measuring: Any = coverage.Coverage.current()
        if measuring is None and config is not None:
            measuring = coverage.Coverage(config_file=config, data_suffix=True, auto_data=True)
            measuring.set_option("run:disable_warnings", _NO_WORD_OF)
            measuring.start()
        if measuring is None or not (config or measuring.get_option("run:parallel")):
            return None
    except Exception:  # coverage.py cannot be started: this worker runs without coverage.py
        return None

    def save() -> None:
        try:
            measuring.save()
        except Exception:
            pass  # saving failed (the disk is full, say), which is no failure of the item

    return save
