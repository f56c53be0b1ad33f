"""Values as entries of a message: plain, pickled, or pickled with their large buffers apart.

A value that travels in a message is an *entry*:

- a plain scalar, or a short tuple of them, is its own entry;
- ``[data]`` is anything else, pickled on its own, so that one bad object costs one item;
- ``[head, sizes, number]`` is a pickle without its large buffers, and the sizes of these. They are
  in a segment (see `segments`) whose descriptor comes with the message. The receiver puts the
  segment in place of the number. In ``sizes``, -1 stands for a descriptor that comes with the
  message (see `descriptors`); the receiver puts the descriptor in its place. None stands for a
  buffer that travels in the message: in place of the number there is a tuple of such buffers;
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

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

    from typing_extensions import Buffer

    from .by_value.role import Role
    from .packing import Entry

    # A pickle whose large buffers are apart. None: the pickle itself is the last of these buffers.
    # The name of a type: the value is the one buffer, of that type.
    Head: TypeAlias = bytes | str | None

_RAW: dict[str, type[bytes | bytearray]] = {"bytes": bytes, "bytearray": bytearray}

_PROTOCOL = 5
_SMALL = 100_000  # bytes; a larger pickle is not searched for random generators

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
        attachments: receives the segment with the large buffers of `value`, if it has any.
        role: see `dumps`.
    """
    plain = is_plain(value)
    if attachments is not None and (not plain or is_long(value)):
        entry = attachments.add(value, functions_by_value, role)
        # A plain value whose buffers are not in a segment needs no pickle.
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
    """Return the pickle of an entry, and its buffers and descriptors that are out of band."""
    if len(entry) == 1:
        return entry[0], []
    head, sizes, rest = entry
    there = [size for size in sizes if type(size) is int]
    if there and rest is None:
        import errno

        text = "too many open files here: its memory did not arrive; raise the limit (ulimit -n)"
        raise OSError(errno.EMFILE, text)
    # The buffers are in a segment, or in the message itself.
    found = iter(rest.read(there) if there else [memoryview(buffer) for buffer in rest or ()])
    buffers = [size if isinstance(size, Descriptor) else next(found) for size in sizes]
    return buffers.pop() if head is None else head, buffers


class Attachments:
    """The segments and descriptors that go with one message."""

    def __init__(self, make: Callable[[Sequence[Buffer]], Segment | None]) -> None:
        """Start with none; `make` returns a segment that holds buffers, or None."""
        self._make = make
        self.segments: list[Segment | Descriptor] = []
        self.size = 0  # how many bytes the segments have together

    def taken(self) -> list[Segment | Descriptor]:
        """Return the segments and descriptors that are to be sent, and forget them."""
        segments = self.segments
        if segments:
            self.segments, self.size = [], 0
        return segments

    def add(self, value: object, functions_by_value: bool, role: Role | None) -> Entry:
        """Return the entry of `value`; keep its segment and descriptors. Raises as `dumps` does."""
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

    Raises what pickling raises. `least`: bytes from which a buffer is large; None: no buffer is.
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
    """Return a pickle and its large buffers as they travel: a large pickle becomes one of them."""
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
        functions_by_value: whether a function that is not importable may be sent by value. The
            methods of `Pool` refuse it as a result, as ``multiprocessing`` does.
        buffers: receives the large buffers of `value`, which are then not part of the pickle, and
            its descriptors. Without it, an object that has a descriptor cannot be pickled.
        role: what the receiver knows. None: in a worker, what its caller knows; at the caller, a
            receiver that knows nothing.
        least: bytes from which a buffer is large; None: no buffer is.
    """
    try:
        dump = plain_dumps()
        if buffers is None:
            data = dump(value, _PROTOCOL)
        else:
            data = dump(value, _PROTOCOL, buffer_callback=sieve(buffers, least))
        # The receiver would look up a reference to __main__ by name in its own __main__, which is
        # another module.
        if not may_refer_by_value(data) and not (len(data) < _SMALL and has_generator(data)):
            return data
    except RecursionError:
        raise  # to pickle it by value would recurse as deeply
    except Exception:
        # Anything else, such as SystemExit, is no pickling error that another pickler could avoid.
        if not functions_by_value and isinstance(value, type(dumps)):
            raise
    from .by_value import picklers

    if role is None:
        role = picklers.Home() if process_role.in_worker else picklers.Whole()
    if buffers is not None:
        buffers.clear()  # remove what the first attempt to pickle the value left
    light = picklers.dumps_light(role, value, None if buffers is None else sieve(buffers, least))
    if light is not None:
        return light
    if buffers is not None:
        buffers.clear()
    return picklers.dumps_full(role, value, None if buffers is None else sieve(buffers, least))
