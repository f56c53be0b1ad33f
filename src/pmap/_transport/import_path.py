"""The import path, with the first meaning of each relative entry, which changes by ``os.chdir``."""

from __future__ import annotations

import os
import sys

# Relative entries of `sys.path`, each with the absolute path that the entry meant when pmap first
# saw the entry: when pmap was imported, or at a call.
_absolute: dict[str, str] = {}


def import_path() -> list[str]:
    """Return ``sys.path``, with the first absolute path of each relative entry behind the entry."""
    path: list[str] = []
    for entry in sys.path:
        if type(entry) is not str:
            continue
        path.append(entry)
        if not os.path.isabs(entry):
            if entry not in _absolute:
                try:
                    _absolute[entry] = os.path.abspath(entry)
                except OSError:  # the current directory was deleted
                    continue
            if _absolute[entry] not in sys.path:
                path.append(_absolute[entry])
    return path
