"""The options that the backend ``"interpreters"`` cannot obey.

This module is imported only if an option asks for that backend.
"""

from collections.abc import Mapping
from typing import Final

from .._errors import OptionError

_PROCESS: Final = "it needs a process for each worker, and"
# For each option that the backend refuses: the only value that the option may have, and the reason.
_REFUSED: Final[dict[str, tuple[object, str]]] = {
    "start_method": (None, f"{_PROCESS} interpreters are in this process"),
    "max_memory_per_child": (
        None,
        "the system counts memory of processes only",
    ),
    "kill_over_memory": (False, f"{_PROCESS} an interpreter cannot be killed"),
    "isolate": (False, "an interpreter that has ended leaves memory in the process"),
    "threads_per_worker": (None, "libraries read their variables once in a process"),
}


def check(options: Mapping[str, object]) -> None:
    """Raise `OptionError` for the first option that interpreters cannot obey."""
    for name, (usual, why) in _REFUSED.items():
        value = options[name]
        if value != usual:
            raise OptionError(
                name, value, f"backend='interpreters' has none: {why}. Use backend='processes'"
            )
