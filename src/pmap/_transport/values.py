"""Values as entries of a message: plain, pickled, or with their large buffers apart.

A value that travels in a message is an *entry*:

- a plain scalar, or a short tuple of them, is its own entry;
- ``[data]`` is anything else, pickled on its own, so that one bad object costs one item;
- ``[head, sizes, number]`` is one whose large buffers are in a segment (see `segments`), whose
  descriptor comes along with the message; where it arrives, the segment stands in for the number.
  In ``sizes`` stands -1 for a descriptor that comes along (see `descriptors`), and then that; and
  None for a buffer that is in a tuple of such in place of the number;
- a longer list is a failure record (see `failure_record`).

What is importable travels by name. What lives in ``__main__``, a REPL, a notebook or a closure
travels by value (see `by_value`).
"""

from __future__ import annotations

from . import light_pickle, process_role
from .descriptors import Descriptor, descriptors_in, without_descriptors
from .importable import may_refer_by_value
from .packing import is_long, is_plain
from .randomness import has_generator
from .registered import plain_dumps
from .segments import LARGE, Segment, most_at_once, sieve, sizes_apart

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from typing_extensions import Buffer

    from .by_value.role import Role
    from .packing import Entry

    # A pickle whose large buffers are apart; None: the last of them is the pickle itself; the name
    # of a type: the buffer is the value.
    Head: TypeAlias = bytes | str | None

_RAW: dict[str, type[bytes | bytearray]] = {"bytes": bytes, "bytearray": bytearray}

_PROTOCOL = 5
_SMALL = 100_000  # bytes

loads = light_pickle.loads


def encode(
    value: object,
    functions_by_value: bool = True,
    attachments: Attachments | None = None,
    role: Role | None = None,
) -> Entry:
    """Return the entry of `value`; raises what its pickling raises.

    Args:
        value: what is to travel.
        functions_by_value: see `dumps`.
        attachments: takes the segment with the large buffers of `value`, if it has any.
        role: see `dumps`.
    """
    plain = is_plain(value)
    if attachments is not None and (not plain or is_long(value)):
        entry = attachments.add(value, functions_by_value, role)
        # One that is plain needs no pickle where it has no segment.
        return value if plain and len(entry) == 1 else entry
    return value if plain else [dumps(value, functions_by_value, role=role)]


def decode(entry: Entry) -> Any:
    """Return the value of an entry that is a list and no failure; raises what loading it raises."""
    if len(entry) == 1:
        return loads(entry[0])
    head, sizes, segment = entry
    if type(head) is str and segment is not None:
        return segment.raw(_RAW[head], sizes[0])
    data, buffers = parts(entry)
    return loads(data, buffers=buffers)


def parts(entry: Entry) -> tuple[Any, list[Any]]:
    """Return the pickle of an entry, and what it has out of band."""
    if len(entry) == 1:
        return entry[0], []
    head, sizes, rest = entry
    there = [size for size in sizes if type(size) is int]
    if there and rest is None:
        import errno

        text = "too many open files here: its memory did not arrive; raise the limit (ulimit -n)"
        raise OSError(errno.EMFILE, text)
    # In a segment, or in the message itself.
    found = iter(rest.read(there) if there else [memoryview(buffer) for buffer in rest or ()])
    buffers = [size if isinstance(size, Descriptor) else next(found) for size in sizes]
    return buffers.pop() if head is None else head, buffers


class Attachments:
    """The segments and descriptors that go along with a message."""

    def __init__(self, make: Callable[[Sequence[Buffer]], Segment | None]) -> None:
        """Make an empty one; `make` returns a segment that holds buffers, if one can be had."""
        self._make = make
        self.segments: list[Segment | Descriptor] = []
        self.size = 0  # bytes in them

    def taken(self) -> list[Segment | Descriptor]:
        """Return what is to go, and hold none of it any more."""
        segments = self.segments
        if segments:
            self.segments, self.size = [], 0
        return segments

    def add(self, value: object, functions_by_value: bool, role: Role | None) -> Entry:
        """Return the entry of `value`; raises what its pickling raises."""
        room = not self.segments or len(self.segments) < most_at_once()
        head, out = split(value, functions_by_value, role, LARGE if room else None)
        if not out:
            return [head]
        segment: Segment | None = None
        large = without_descriptors(out)
        if large:
            segment = self._make(large)
            if segment is None:
                head, out = split(value, functions_by_value, role, None)
                if not out:
                    return [head]
        if segment is not None:
            self.segments.append(segment)
        self.segments += descriptors_in(out)
        sizes = sizes_apart(out)
        self.size += sum([size for size in sizes if size > 0])
        return [head, sizes, 0 if segment is None else segment.number]


def split(
    value: object,
    functions_by_value: bool = True,
    role: Role | None = None,
    least: int | None = LARGE,
) -> tuple[Head, list[Buffer | Descriptor]]:
    """Return `value` pickled without its large buffers and its descriptors, and these.

    Raises what pickling raises. `least`: bytes from which a buffer is large; None: none is.
    """
    kind = type(value)
    if least is not None and kind.__name__ in _RAW and (kind is bytes or kind is bytearray):
        raw: Any = value
        if len(raw) >= least:
            return kind.__name__, [raw]
    out: list[Buffer | Descriptor] = []
    data = dumps(value, functions_by_value, out, role, least)
    return (data, out) if least is None else apart(data, out)


def apart(
    data: bytes, buffers: list[Buffer | Descriptor]
) -> tuple[Head, list[Buffer | Descriptor]]:
    """Return a pickle and its large buffers as they travel: a large pickle is one of them."""
    if len(data) < LARGE:
        return data, buffers
    return None, [*buffers, data]


def dumps(
    value: object,
    functions_by_value: bool = True,
    buffers: list[Buffer | Descriptor] | None = None,
    role: Role | None = None,
    least: int | None = LARGE,
) -> bytes:
    """Return `value` pickled, by name where it is importable, else by value.

    Args:
        value: the object.
        functions_by_value: whether a function that is not importable may be sent itself. The
            methods of `Pool` refuse it as a result, as ``multiprocessing`` does.
        buffers: takes the large buffers of `value`, which are then no part of the pickle, and its
            descriptors. Without it what has a descriptor cannot be pickled.
        role: what the receiver knows; None: in a worker, what its caller knows; else nothing.
        least: bytes from which a buffer is large; None: none is.
    """
    try:
        dump = plain_dumps()
        if buffers is None:
            data = dump(value, _PROTOCOL)
        else:
            data = dump(value, _PROTOCOL, buffer_callback=sieve(buffers, least))
        # A reference to __main__ by name would be looked up in the receiver's __main__, which is
        # another module.
        if not may_refer_by_value(data) and not (len(data) < _SMALL and has_generator(data)):
            return data
    except RecursionError:
        raise  # by value would recurse as deep again
    except Exception:  # what else is raised, SystemExit say, is no pickling error to get around
        if not functions_by_value and isinstance(value, type(dumps)):
            raise
    from .by_value import picklers

    if role is None:
        role = picklers.Home() if process_role.in_worker else picklers.Whole()
    if buffers is not None:
        buffers.clear()  # of the first attempt
    light = picklers.dumps_light(role, value, None if buffers is None else sieve(buffers, least))
    if light is not None:
        return light
    if buffers is not None:
        buffers.clear()
    return picklers.dumps_full(role, value, None if buffers is None else sieve(buffers, least))
