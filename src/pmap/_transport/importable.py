"""Which objects pickle finds by their names, in every process of a program."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Any

# What is defined there, another process does not find: its own main module is another one.
MAIN_MODULES: frozenset[str] = frozenset({"__main__", "__mp_main__"})


def is_importable(obj: Any) -> bool:
    """Return whether just this function or class is found by module and name, elsewhere too."""
    found: object = sys.modules.get(obj.__module__)
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj and obj.__module__ not in MAIN_MODULES
