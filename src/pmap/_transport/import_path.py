"""The import path with its relative entries, which mean another directory after ``os.chdir``."""

from __future__ import annotations

import os
import sys

# Relative entries of `sys.path`, each with the absolute path that it meant when pmap first saw it:
# when pmap was imported, or at a call.
_absolute: dict[str, str] = {}


def import_path() -> list[str]:
    """Return ``sys.path``, with the path that each relative entry meant first behind it."""
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
