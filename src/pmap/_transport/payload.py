"""What all workers are told, as bytes that are made once: a function, a unit of names."""

from typing import TYPE_CHECKING, NamedTuple

from .segments import Segment, sizes_of, written
from .values import apart, dumps, split

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .by_value.role import Role
    from .packing import Entry


class Payload(NamedTuple):
    """Bytes; large buffers are in a segment, which all workers map."""

    head: bytes | str | None  # as `values.Head`; in quotes its check would load all of `ast`
    sizes: tuple[int, ...] = ()
    segment: Segment | None = None
    loose: tuple[bytes, ...] = ()  # the large buffers, where no segment is to be had

    @property
    def entry(self) -> "Entry":
        """What stands for it in a message; the segment goes along."""
        if self.loose:
            return [self.head, None, self.loose]
        return [self.head] if self.segment is None else [self.head, self.sizes, 0]

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return (
            sum(self.sizes)
            + sum(map(len, self.loose))
            + (0 if self.head is None else len(self.head))
        )


def payload_of(function: object, last: Payload | None, role: "Role") -> Payload:
    """Return `function` as bytes, or `last` if that is just the same."""
    head, buffers = split(function, role=role)
    if buffers:
        sizes = sizes_of(buffers)
        known = last is not None and last.head == head and last.sizes == sizes
        if last is not None and last.segment is not None and known and last.segment.holds(buffers):
            return last
        segment = written(buffers)
        if segment is not None:
            return Payload(head, sizes, segment)
        head = dumps(function, role=role)
    return Payload(head)


def payload_of_pickles(data: bytes, buffers: "list[Buffer]") -> Payload:
    """Return pickles that are made already, and their large buffers, which may change from now."""
    head, large = apart(data, buffers)
    segment = written(large) if large else None
    if segment is not None:
        return Payload(head, sizes_of(large), segment)
    return Payload(data, loose=tuple(map(bytes, buffers)))
