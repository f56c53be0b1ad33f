# What pmap calls of cloudpickle, which ships no types. Held by stubtest.

from collections import ChainMap
from collections.abc import Callable
from pickle import PickleBuffer
from pickle import loads as loads
from types import ModuleType
from typing import IO

# Its base, pickle.Pickler, is left out: pmap uses none of it, and typeshed gives reducer_override
# a result so narrow that a subclass could not hand on what cloudpickle's own returns.
class Pickler:
    dispatch_table: ChainMap[type, Callable[[object], tuple[object, ...]]]
    def __init__(
        self,
        file: IO[bytes],
        protocol: int | None = None,
        buffer_callback: Callable[[PickleBuffer], object] | None = None,
    ) -> None: ...
    def dump(self, obj: object) -> None: ...
    def reducer_override(self, obj: object) -> object: ...

def dumps(
    obj: object,
    protocol: int | None = None,
    buffer_callback: Callable[[PickleBuffer], object] | None = None,
) -> bytes: ...
def register_pickle_by_value(module: ModuleType) -> None: ...
def unregister_pickle_by_value(module: ModuleType) -> None: ...
