"""Workers that coverage measures: what a finished item ran is saved before its result is told.

A worker may be killed when nothing of it is wanted any more, so that its end is no time to save. A
process that coverage was not told to expect (no ``parallel``) would write over its caller's data.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NO_WORD_OF = ["no-data-collected", "module-not-measured", "module-not-imported", "no-sysmon"]


def saver(config: str | None) -> Callable[[], None] | None:
    """Return what saves what was measured so far in this process; None: nothing measures it.

    `config`: the file by which coverage at the caller measures what multiprocessing starts, and
    would have hooked into ours if they were started so.
    """
    if config is None and "coverage" not in sys.modules:
        return None
    try:
        import coverage

        # Any: it is a program's own, of whatever version.
        measuring: Any = coverage.Coverage.current()
        if measuring is None and config is not None:
            measuring = coverage.Coverage(config_file=config, data_suffix=True, auto_data=True)
            measuring.set_option("run:disable_warnings", _NO_WORD_OF)
            measuring.start()
        if measuring is None or not (config or measuring.get_option("run:parallel")):
            return None
    except Exception:  # a worker without it is better than none
        return None

    def save() -> None:
        try:
            measuring.save()
        except Exception:
            pass  # no space is left, say: the item is none the worse for it

    return save
