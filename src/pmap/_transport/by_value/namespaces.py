"""The globals of modules of this process that other processes cannot import."""

from __future__ import annotations

import sys
from types import FunctionType
from weakref import WeakValueDictionary

from ..importable import MAIN_MODULES, is_importable, travels_by_name
from . import arriving
from .globals_of import is_made_by_a_program
from .numbers import Numbers

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

_numbers = Numbers()


class Namespace:
    """The globals of a module that other processes cannot import, with its name and a number."""

    __slots__ = ("__weakref__", "_classes", "dict", "name", "number")

    def __init__(self, space: dict[str, Any], name: str) -> None:
        self.dict: dict[str, Any] = space
        self.name: str = name
        self.number: int = next(_numbers)
        self._classes: tuple[type, ...] = ()

    def value(self, name: str) -> Any:
        """Return the value of a global name, or `arriving.ABSENT`."""
        if name is arriving.SUBCLASSES:
            return self._own_classes()
        if name is not arriving.CLASS:
            return self.dict.get(name, arriving.ABSENT)
        module = sys.modules.get(self.name)
        kind = type(module)
        is_own = kind is not type(sys) and getattr(module, "__dict__", None) is self.dict
        return kind if is_own else arriving.ABSENT

    def _own_classes(self) -> tuple[type, ...]:
        """Return the classes that derive from others, in the order of their definition."""
        found: list[type] = []
        waiting = [cls for cls in [*self.dict.values()] if isinstance(cls, type)]
        while waiting:
            cls = waiting.pop()
            if is_made_by_a_program(cls):
                below: list[type] = type.__subclasses__(cls)
                found += [one for one in below if not is_importable(one)]
                waiting += below
        now = tuple({id(cls): cls for cls in found}.values())
        if [*map(id, now)] != [*map(id, self._classes)]:
            self._classes = now
        return self._classes


# The globals of modules that other processes cannot import, by the id of the dict. The record keeps
# the dict alive, so no other dict gets this id.
_by_id: WeakValueDictionary[int, Namespace] = WeakValueDictionary()
_by_number: WeakValueDictionary[int, Namespace] = WeakValueDictionary()


def register(space: Namespace) -> Namespace:
    """Record the module's globals `space`, so that they are sent by value; return the record."""
    _by_id[id(space.dict)] = space
    _by_number[space.number] = space
    return space


def namespace_of(space: dict[str, Any]) -> Namespace | None:
    """Return the record of a module's globals `space`, if other processes cannot import the module.

    None means that other processes can import it, or that `space` is no module's ``__dict__``.
    """
    found = _by_id.get(id(space))
    if found is None:
        own: object = space.get("__name__")
        if not isinstance(own, str) or travels_by_name(own):
            return None
        if own not in MAIN_MODULES and getattr(sys.modules.get(own), "__dict__", None) is not space:
            # The dict `space` names a module, but is not the `__dict__` of that module.
            return None
        found = register(Namespace(space, own))
    return found


def namespace_of_script() -> Namespace | None:
    """Return the record of the globals that the functions of the program's script have."""
    main = sys.modules.get("__main__")
    if main is None:
        return None
    space = vars(main)
    if main.__name__ == "__mp_main__":
        # This process is a child of multiprocessing, which has run the script in a dict of its own:
        # the functions have that dict as their globals, and the module has a copy.
        for value in [*space.values()]:
            if type(value) is FunctionType and value.__module__ == "__mp_main__":
                space = value.__globals__
                break
    return namespace_of(space)


def number_of(space: dict[str, Any]) -> tuple[int, str] | None:
    """Return number and name of the module with the globals `space`; None if none is recorded."""
    found = _by_id.get(id(space))
    return None if found is None else (found.number, found.name)


def _home(number: int) -> dict[str, Any] | None:
    space = _by_number.get(number)
    return None if space is None else space.dict


arriving.find_home.append(_home)
