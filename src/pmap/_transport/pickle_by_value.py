"""Pickling by value: cloudpickle, context variables, which it does not know, and files of code.

Imported when something first has to travel by value: cloudpickle takes longer to import than pmap.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable
from contextvars import Context, ContextVar
from pickle import PickleBuffer
from types import CodeType
from typing import cast

import cloudpickle

from .importable import MAIN_MODULES

_places: dict[ContextVar[object], tuple[str, str]] = {}
_keys: dict[ContextVar[object], str] = {}
_by_key: dict[str, ContextVar[object]] = {}


def dumps_by_value(
    value: object, protocol: int, buffer_callback: Callable[[PickleBuffer], bool] | None = None
) -> bytes:
    """Return `value` pickled; what cannot be imported elsewhere goes along itself."""
    with io.BytesIO() as file:
        _Pickler(file, protocol, buffer_callback).dump(value)
        return file.getvalue()


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, obj: object) -> object:
        if isinstance(obj, ContextVar):
            return _reduce_variable(cast("ContextVar[object]", obj))
        if isinstance(obj, CodeType):
            return _with_its_file(obj, self.dispatch_table[CodeType](obj))
        return super().reducer_override(obj)


def _with_its_file(code: CodeType, reduced: tuple[object, ...]) -> tuple[object, ...]:
    """Return what cloudpickle makes of `code`, and the file it comes from.

    From 3.1.3 on cloudpickle writes ``<dynamic-code>`` in its place. A traceback from a worker
    would then show no line of the function, and not say where to look.
    """
    make, arguments = reduced
    assert isinstance(arguments, tuple)
    values = list(cast("tuple[object, ...]", arguments))
    # In every version of Python the file is the first text among what a code object is made of.
    values[[isinstance(value, str) for value in values].index(True)] = code.co_filename
    return make, tuple(values)


def _reduce_variable(variable: ContextVar[object]) -> tuple[object, ...]:
    """Return what ``ContextVar.__reduce__`` would, if it had one.

    A variable that is a global of an importable module is found there by name. Any other gets a key
    when it is first sent, and the receiver makes one variable for each key, so that a function and
    the values sent beside it mean the same one.
    """
    place = _places.get(variable) or _find(variable)
    if place is not None:
        _places[variable] = place
        return _by_name, place
    key = _keys.setdefault(variable, os.urandom(16).hex())
    _by_key.setdefault(key, variable)
    try:
        # In an empty context nothing is set, so this is the variable's own default.
        default: tuple[object, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return _from_key, (key, variable.name, default)


def _find(variable: ContextVar[object]) -> tuple[str, str] | None:
    """Return module and name of a variable that is a global of an importable module."""
    if variable in _keys:
        return None  # it was looked for before, and that takes long
    for name, module in list(sys.modules.items()):
        if name not in MAIN_MODULES:
            for attribute, found in list(getattr(module, "__dict__", {}).items()):
                if found is variable:
                    return name, attribute
    return None


def _by_name(module: str, attribute: str) -> object:
    return getattr(importlib.import_module(module), attribute)


def _from_key(key: str, name: str, default: tuple[object, ...]) -> ContextVar[object]:
    if key not in _by_key:
        _by_key[key] = ContextVar(name, default=default[0]) if default else ContextVar(name)
        _keys[_by_key[key]] = key
    return _by_key[key]
