"""Values as entries of a message: plain, pickled, or with their large buffers apart.

A value that travels in a message is an *entry*:

- a plain scalar, or a short tuple of them, is its own entry;
- ``[data]`` is anything else, pickled on its own, so that one bad object costs one item;
- ``[head, sizes, number]`` is one whose large buffers are in a segment (see `segments`), whose
  descriptor comes along with the message; where it arrives, the segment stands in for the number;
- a longer list is a failure record (see `failure_record`).

What is importable travels by name. What lives in ``__main__``, a REPL, a notebook or a closure
travels by value, through cloudpickle, which is imported when first needed.
"""

from __future__ import annotations

from . import light_pickle
from .packing import is_long, is_plain
from .segments import LARGE, Segment, most_at_once, sizes_of

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pickle import PickleBuffer
    from typing import Any, TypeAlias

    from typing_extensions import Buffer

    from .packing import Entry

    # A pickle whose large buffers are apart; None: the last of them is the pickle itself; the name
    # of a type: the buffer is the value.
    Head: TypeAlias = bytes | str | None

_RAW: dict[str, type[bytes | bytearray]] = {"bytes": bytes, "bytearray": bytearray}

_PROTOCOL = 5
_MAIN = b"__main__"

loads = light_pickle.loads


def encode(value: object, functions_by_value: bool = True, cargo: Cargo | None = None) -> Entry:
    """Return the entry of `value`; raises what its pickling raises.

    Args:
        value: what is to travel.
        functions_by_value: see `dumps`.
        cargo: takes the segment with the large buffers of `value`, if it has any.
    """
    plain = is_plain(value)
    if cargo is not None and (not plain or is_long(value)):
        entry = cargo.add(value, functions_by_value)
        if entry is not None:
            return entry
    return value if plain else [dumps(value, functions_by_value)]


def decode(entry: Entry) -> Any:
    """Return the value of an entry that is a list and no failure; raises what loading it raises."""
    if len(entry) == 1:
        return loads(entry[0])
    head, sizes, segment = entry
    if segment is None:
        import errno

        text = "too many open files here: its memory did not arrive; raise the limit (ulimit -n)"
        raise OSError(errno.EMFILE, text)
    if type(head) is str:
        return segment.raw(_RAW[head], sizes[0])
    buffers: list[memoryview] = segment.read(sizes)
    return loads(buffers.pop() if head is None else head, buffers=buffers)


class Cargo:
    """The segments that go along with a message."""

    def __init__(self, make: Callable[[Sequence[Buffer]], Segment | None]) -> None:
        """Make an empty one; `make` returns a segment that holds buffers, if one can be had."""
        self._make = make
        self.segments: list[Segment] = []
        self.size = 0  # bytes in them

    def taken(self) -> list[Segment]:
        """Return the segments that are to go, and hold none of them any more."""
        segments = self.segments
        if segments:
            self.segments, self.size = [], 0
        return segments

    def add(self, value: object, functions_by_value: bool) -> Entry | None:
        """Return the entry of `value`, or None where it must travel without a segment."""
        if self.segments and len(self.segments) >= most_at_once():
            return None
        head, buffers = split(value, functions_by_value)
        if not buffers:
            return [head]
        segment = self._make(buffers)
        if segment is None:
            return None
        self.segments.append(segment)
        sizes = sizes_of(buffers)
        self.size += sum(sizes)
        return [head, sizes, segment.number]


def split(value: object, functions_by_value: bool = True) -> tuple[Head, list[Buffer]]:
    """Return `value` pickled without its large buffers, and these; raises what pickling raises."""
    kind = type(value)
    if kind.__name__ in _RAW and (kind is bytes or kind is bytearray):
        raw: Any = value
        if len(raw) >= LARGE:
            return kind.__name__, [raw]
    buffers: list[Buffer] = []
    head = dumps(value, functions_by_value, buffers)
    if len(head) < LARGE:
        return head, buffers
    return None, [*buffers, head]


def dumps(
    value: object, functions_by_value: bool = True, buffers: list[Buffer] | None = None
) -> bytes:
    """Return `value` pickled, by name where it is importable, else by value.

    Args:
        value: the object.
        functions_by_value: whether a function that is not importable may be sent itself. The
            methods of `Pool` refuse it as a result, as ``multiprocessing`` does.
        buffers: takes the large buffers of `value`, which are then no part of the pickle.
    """
    try:
        if buffers is None:
            data = light_pickle.dumps(value, _PROTOCOL)
        else:
            data = light_pickle.dumps(value, _PROTOCOL, buffer_callback=_sieve(buffers))
        # A reference to __main__ by name would be looked up in the receiver's __main__, which is
        # another module. The name stands literally in every pickle that refers to it; a string
        # that just contains it takes the slower road for nothing.
        if _MAIN not in data:
            return data
    except RecursionError:
        raise  # by value would recurse as deep again
    except Exception:  # what else is raised, SystemExit say, is no pickling error to get around
        if not functions_by_value and isinstance(value, type(dumps)):
            raise
    from .pickle_main_functions import dumps_plainly

    plain = dumps_plainly(value, _PROTOCOL)
    if plain is not None:
        if buffers is not None:
            buffers.clear()  # of the first attempt
        return plain
    from .pickle_by_value import dumps_by_value

    if buffers is None:
        return dumps_by_value(value, _PROTOCOL)
    buffers.clear()  # of the first attempt
    return dumps_by_value(value, _PROTOCOL, _sieve(buffers))


def _sieve(large: list[Buffer]) -> Callable[[PickleBuffer], bool]:
    """Return what pickle asks whether a buffer is to be part of the pickle."""

    def is_part(buffer: PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # it is in pieces
            return True
        if raw.nbytes < LARGE:
            return True
        large.append(raw)
        return False

    return is_part
