"""A function, or the values of global names, as bytes that are made once for all workers.

A unit is the values of some names, pickled together.
"""

from typing import TYPE_CHECKING, NamedTuple

from .descriptors import Descriptor, descriptors_in, without_descriptors
from .segments import Segment, sizes_apart, written
from .values import apart, split

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .by_value.role import Role
    from .packing import Entry


class Payload(NamedTuple):
    """A pickle as bytes; its large buffers are in shared memory that all workers use."""

    # This type is `values.Head`, written out: for an annotation in quotes, NamedTuple would import
    # the module `ast`, which takes time.
    head: bytes | str | None
    # The sizes of the large buffers, in the form that the module `values` describes.
    sizes: tuple[int | None, ...] = ()
    segment: Segment | None = None
    # The large buffers themselves, if the system has no shared memory for them.
    loose: tuple[bytes, ...] = ()
    descriptors: tuple[Descriptor, ...] = ()

    @property
    def entry(self) -> "Entry":
        """This pickle in the form that it has in a message."""
        return [self.head, self.sizes, self.loose or 0] if self.sizes else [self.head]

    @property
    def attachments(self) -> list[Segment | Descriptor]:
        """The shared memory and descriptors to be sent with a message that has this pickle."""
        if not self.sizes:
            return []  # the usual case: the pickle has no large buffers
        return [*([] if self.segment is None else [self.segment]), *self.descriptors]

    @property
    def size(self) -> int:
        """How many bytes the pickle and its large buffers have."""
        size = 0 if self.head is None else len(self.head)
        if self.sizes:
            size += sum([each for each in self.sizes if each is not None and each > 0])
            size += sum(map(len, self.loose))
        return size


def payload_of(function: object, last: Payload | None, role: "Role") -> Payload:
    """Return a pickle of `function`; if the earlier pickle `last` has the same bytes, return it.

    A pickle without large buffers is always a new one.
    """
    head, out = split(function, role=role)
    if not out:
        return Payload(head)  # the usual case: the pickle has no large buffers
    large = without_descriptors(out)
    if large:
        sizes = sizes_apart(out)
        known = last is not None and last.head == head and last.sizes == sizes == sizes_apart(large)
        if last is not None and last.segment is not None and known and last.segment.holds(large):
            return last
        segment = written(large)
        if segment is not None:
            return Payload(head, sizes, segment, descriptors=tuple(descriptors_in(out)))
        head, out = split(function, role=role, least=None)
    return Payload(head, sizes_apart(out), descriptors=tuple(descriptors_in(out)))


def payload_of_pickles(data: bytes, buffers: "list[Buffer | Descriptor]") -> Payload:
    """Return a `Payload` of some pickles and of the large buffers that belong to them.

    The `Payload` has copies of the buffers, so the buffers may change from now on.
    """
    head, out = apart(data, buffers)
    large, descriptors = without_descriptors(out), tuple(descriptors_in(out))
    segment = written(large) if large else None
    if segment is not None:
        return Payload(head, sizes_apart(out), segment, descriptors=descriptors)
    loose = tuple(map(bytes, without_descriptors(buffers)))
    sizes = tuple([size if size < 0 else None for size in sizes_apart(buffers)])
    return Payload(data, sizes, loose=loose, descriptors=descriptors)
