"""Checks the value of the option ``ship``; imported only if this option is given."""

import os
import sys
from importlib.util import find_spec
from types import ModuleType

from .._errors import OptionError
from .._types import is_iterable

_ALLOWED = "is a list of packages, by name or as modules: ship=['mypackage']"


def checked_ship(option: str, value: object) -> tuple[str, ...]:
    """Return the names of the packages that the option gives, each once.

    Raises:
        OptionError: the value is no sequence of packages whose files are in a folder.
    """
    if not is_iterable(value) or isinstance(value, str | bytes):
        raise OptionError(option, value, f"{option} {_ALLOWED}")
    names: dict[str, None] = {}
    for entry in value:
        name: object = entry.__name__ if isinstance(entry, ModuleType) else entry
        if not isinstance(name, str):
            raise OptionError(option, value, f"{option} {_ALLOWED}")
        names[name] = None
        _check(option, value, name)
    return tuple(names)


def _check(option: str, value: object, name: str) -> None:
    """Raise `OptionError` if the files of the package `name` cannot be sent."""
    top, _, below = name.partition(".")
    if name == "__main__":
        raise OptionError(option, value, "what a script defines is sent by value: leave it out")
    if below:
        why = f"{name} is a part of the package {top}, which is sent as a whole: ship=[{top!r}]"
        raise OptionError(option, value, why)
    if not places_of(name):
        raise OptionError(
            option, value, f"{name!r} is no package or module whose files are in a folder here"
        )


def places_of(name: str) -> list[str]:
    """Return the folders of a package, or the file of a module; empty if there are none."""
    try:
        spec = find_spec(name)
    # The module has no spec or is in a package that cannot be imported; a finder of the program may
    # raise anything.
    except Exception:
        return []
    if spec is None or name in sys.builtin_module_names:
        return []
    if spec.submodule_search_locations is not None:
        return [place for place in spec.submodule_search_locations if os.path.isdir(place)]
    if spec.has_location and spec.origin is not None and os.path.isfile(spec.origin):
        return [spec.origin]
    return []
