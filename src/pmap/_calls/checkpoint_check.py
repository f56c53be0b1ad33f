"""The check of the option ``checkpoint``; imported only when a call or ``using`` gives it."""

import os

from .._errors import OptionError
from .._types import GivenCheckpoint


def checked_checkpoint(name: str, value: object) -> object:
    """Return `value` if the option may have it: a path, a `Checkpoint` or None.

    Raises:
        OptionError: `value` is none of these. No file is looked at.
    """
    if value is None or _names_a_file(value):
        return value
    raise OptionError(name, value, f"{name} is the path of a file, a pmap.Checkpoint, or None")


def _names_a_file(value: object) -> bool:
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, GivenCheckpoint | os.PathLike) and not isinstance(value, type)
