"""Pickling by value with cloudpickle, for all objects that pmap's own pickler refuses.

This module is imported when an object first needs cloudpickle, which takes longer to import than
pmap.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import PickleBuffer
from types import CodeType
from typing import IO, Any

import cloudpickle

from .reducers import RefusedError, reduced
from .role import Role


class FullPickler(cloudpickle.Pickler):
    """Pickles by value; cloudpickle handles the objects that pmap's own code does not."""

    def __init__(
        self,
        role: Role,
        file: IO[bytes],
        protocol: int,
        buffer_callback: Callable[[PickleBuffer], bool] | None = None,
    ) -> None:
        super().__init__(file, protocol, buffer_callback)
        self._role = role

    def reducer_override(self, obj: object) -> Any:
        try:
            how = reduced(self._role, obj, light=False)
        except RefusedError:
            if isinstance(obj, CodeType):
                return _with_its_file(obj, self.dispatch_table[CodeType](obj))
            return super().reducer_override(obj)
        if how is NotImplemented:
            return super().reducer_override(obj)
        return how


def _with_its_file(code: CodeType, reduced: tuple[object, ...]) -> tuple[object, ...]:
    """Return what cloudpickle writes for the code object `code`, but with its file's name.

    From 3.1.3 on cloudpickle writes ``<dynamic-code>`` in place of the name. A traceback from a
    worker would then show no line of the function, and would not say in which file to look.
    """
    make, arguments = reduced
    assert isinstance(arguments, tuple)
    values: list[object] = list(arguments)  # pyright: ignore[reportUnknownArgumentType]
    # In every version of Python the name of the file is the first text among the arguments that
    # make a code object.
    values[[isinstance(value, str) for value in values].index(True)] = code.co_filename
    return make, tuple(values)
