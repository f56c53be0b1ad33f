"""The import path, in which relative entries keep the meaning that they had at first."""

from __future__ import annotations

import os
import sys

# Relative entries of `sys.path`, each with the absolute path that the entry meant when pmap first
# saw the entry: at the import of pmap, or at a call. After an `os.chdir` the entry would mean
# another path.
_absolute: dict[str, str] = {}


def import_path() -> list[str]:
    """Return ``sys.path`` with, after each relative entry, the path that the entry first meant."""
    path: list[str] = []
    for entry in sys.path:
        if type(entry) is not str:
            continue
        path.append(entry)
        if not os.path.isabs(entry):
            if entry not in _absolute:
                try:
                    _absolute[entry] = os.path.abspath(entry)
                except OSError:
                    # the current directory was deleted, so a relative entry means nothing
                    continue
            if _absolute[entry] not in sys.path:
                path.append(_absolute[entry])
    return path
