"""Values as message entries: plain, pickled, or pickled with their large buffers out of band.

A *message entry* is one value that travels in a message. It has one of four forms:

- a plain scalar, or a short tuple of plain scalars, is its own entry;
- ``[data]`` is any other value, pickled on its own, so that a value that cannot be loaded costs
  only one item;
- ``[head, sizes, number]`` is a pickle without its large buffers, and the sizes of the buffers. The
  buffers are in a shared-memory segment (see `segments`) whose descriptor comes with the message.
  The receiver puts the segment in place of the number. In ``sizes``, -1 stands for a descriptor
  that comes with the message (see `descriptors`); the receiver replaces the -1 with the descriptor.
  None in ``sizes`` stands for a buffer that travels in the message: then a tuple of such buffers
  takes the place of the number;
- a longer list is a failure record (see `failure_record`).

Functions and classes that are importable are pickled by name. Those of ``__main__``, a REPL, a
notebook or a closure are pickled by value (see `by_value`).
"""

from __future__ import annotations

from . import light_pickle, process_role
from .descriptors import Descriptor, descriptors_in, without_descriptors
from .importable import may_refer_by_value
from .packing import is_long, is_plain
from .randomness import has_generator
from .registered import plain_dumps
from .segments import LARGE, Segment, most_at_once, sieve, sizes_apart

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from typing_extensions import Buffer

    from .by_value.role import Role
    from .packing import Entry

    # A pickle without its large buffers, which are sent beside it. None: the pickle is large, too,
    # and is the last buffer. A text names `bytes` or `bytearray`: the value is of this class, and
    # its contents are the one buffer.
    Head: TypeAlias = bytes | str | None

_RAW: dict[str, type[bytes | bytearray]] = {"bytes": bytes, "bytearray": bytearray}

_PROTOCOL = 5
_SMALL = 100_000  # a pickle of more bytes than this is not searched for random generators

loads = light_pickle.loads


def encode(
    value: object,
    functions_by_value: bool = True,
    attachments: Attachments | None = None,
    role: Role | None = None,
) -> Entry:
    """Return the message entry of `value`; raise what the pickling of `value` raises.

    Args:
        value: the value that is to travel.
        functions_by_value: whether a function that cannot be imported is pickled with its contents.
        attachments: receives the shared-memory segment with the large buffers of `value`, and the
            descriptors of `value`. None: large buffers are part of the pickle.
        role: an object that the pickler asks what the receiver has already: see `dumps`.
    """
    plain = is_plain(value)
    if attachments is not None and (not plain or is_long(value)):
        entry = attachments.add(value, functions_by_value, role)
        # A plain value (a text, for example) needs no pickle, unless the value is so large that it
        # goes into shared memory.
        return value if plain and len(entry) == 1 else entry
    return value if plain else [dumps(value, functions_by_value, role=role)]


def decode(entry: Entry) -> Any:
    """Return the value of a message entry that is a list, but no failure record.

    Raises what the loading of the value raises.
    """
    if len(entry) == 1:
        return loads(entry[0])
    head, sizes, segment = entry
    if type(head) is str and segment is not None:
        return segment.raw(_RAW[head], sizes[0])
    data, buffers = parts(entry)
    return loads(data, buffers=buffers)


def parts(entry: Entry) -> tuple[Any, list[Any]]:
    """Return the pickle in a message entry, and the buffers and descriptors that belong to it.

    Raises OSError if the shared-memory segment of the entry did not arrive.
    """
    if len(entry) == 1:
        return entry[0], []
    head, sizes, rest = entry
    there = [size for size in sizes if type(size) is int]
    if there and rest is None:
        import errno

        text = "too many open files here: its memory did not arrive; raise the limit (ulimit -n)"
        raise OSError(errno.EMFILE, text)
    # The large buffers are in shared memory, or in the message itself.
    found = iter(rest.read(there) if there else [memoryview(buffer) for buffer in rest or ()])
    buffers = [size if isinstance(size, Descriptor) else next(found) for size in sizes]
    return buffers.pop() if head is None else head, buffers


class Attachments:
    """The pieces of shared memory, and the file descriptors, that go with one message."""

    def __init__(self, make: Callable[[Sequence[Buffer]], Segment | None]) -> None:
        """Begin without shared memory and descriptors.

        `make` returns shared memory that holds the buffers that it is given, or None.
        """
        self._make = make
        self.segments: list[Segment | Descriptor] = []
        self.size = 0  # how many bytes the buffers in shared memory have together

    def taken(self) -> list[Segment | Descriptor]:
        """Return the shared memory and descriptors to be sent; afterwards this object has none."""
        segments = self.segments
        if segments:
            self.segments, self.size = [], 0
        return segments

    def add(self, value: object, functions_by_value: bool, role: Role | None) -> Entry:
        """Return `value` as a message entry; keep the shared memory and descriptors it needs.

        Raises the exceptions of `dumps`.
        """
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
    """Return the pickle of `value` without large buffers and descriptors, and a list of those.

    Raises what the pickling of `value` raises.

    `least`: the number of bytes from which a buffer is large; None: no buffer is large.
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
    """Return a pickle and the buffers that are sent beside it.

    If the pickle itself is large, the pickle becomes the last of these buffers, and None is
    returned in place of the pickle.
    """
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
    """Return `value` pickled: by name if it is importable, else by value.

    Args:
        value: the object.
        functions_by_value: whether a function that is not importable may be pickled by value. The
            methods of `Pool` refuse such a function as a result, as ``multiprocessing`` does.
        buffers: the list that receives the large buffers of `value`, which are then not part of the
            pickle, and the descriptors of `value`. None: all buffers are part of the pickle, and an
            object that has a descriptor cannot be pickled.
        role: an object that the pickler asks what the receiver of the pickle has already. None
            means for a worker that the receiver is its caller, and for the caller that the receiver
            has nothing.
        least: the number of bytes from which a buffer is large; None: no buffer is large.
    """
    try:
        dump = plain_dumps()
        if buffers is None:
            data = dump(value, _PROTOCOL)
        else:
            data = dump(value, _PROTOCOL, buffer_callback=sieve(buffers, least))
        # A pickle that refers to something in `__main__` by name is of no use: the receiver has
        # another `__main__`. Nor is one that names a method that the receiver would not find. Bound
        # methods are the usual reason why a pickle has the word `getattr` in it.
        if (
            not may_refer_by_value(data)
            and not (len(data) < _SMALL and has_generator(data))
            and not (b"getattr" in data and _has_own_method(value))
        ):
            return data
    except RecursionError:
        raise  # pickling by value would recurse as deeply, so it is not tried
    except Exception:
        # SystemExit, KeyboardInterrupt and the like are not caught: pickling in another way would
        # not help.
        if not functions_by_value and isinstance(value, type(dumps)):
            raise
    from .by_value import picklers

    if role is None:
        role = picklers.Home() if process_role.in_worker else picklers.Whole()
    if buffers is not None:
        # pickling in the first way has failed, so the buffers that it has left are dropped
        buffers.clear()
    light = picklers.dumps_light(role, value, None if buffers is None else sieve(buffers, least))
    if light is not None:
        return light
    if buffers is not None:
        buffers.clear()
    return picklers.dumps_full(role, value, None if buffers is None else sieve(buffers, least))


def _has_own_method(value: object) -> bool:
    from .methods import has_own_method  # most workers never need this module

    return has_own_method(value)
