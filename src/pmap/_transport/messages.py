"""Messages and values to bytes, and back.

A message is a tuple of plain values, written by ``marshal`` behind its length: both ends are the
same interpreter, and marshal is several times faster than pickle for this. A value that travels in
a message is an *entry*:

- a plain scalar, or a short tuple of them, is its own entry;
- ``[data]`` is anything else, pickled on its own, so that one bad object costs one item;
- ``[head, sizes, number]`` is one whose large buffers are in a segment (see ``segments``), whose
  descriptor comes along with the message; where it arrives, the segment stands in for the number;
- a longer list is a failure record (see ``item_errors``).

Many ints, or many floats, are no entries but the words of a *lane*, and a range is three ints; many
short strings are one, and many rows of one length are their cells.

marshal takes nothing of 2 GiB or more. A message that holds such a thing carries the pickled values
as *blobs* behind its body, and there they are numbers: ``[0]`` is the entry that the first blob is.

What is importable travels by name. What lives in ``__main__``, a REPL, a notebook or a closure
travels by value, through cloudpickle, which is imported when first needed.

More than 300 lines in one module: each one that a worker imports delays its first result.
"""

from __future__ import annotations

import marshal
import struct
from itertools import chain

from . import light_pickle
from .light_stdlib import deque
from .segments import LARGE, Segment, most_at_once, sizes_of

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pickle import PickleBuffer
    from typing import Any, Final, Literal, TypeAlias

    from typing_extensions import Buffer

    # What stands in a message is known from its first word, and what an entry is from its own type,
    # at run time only: no type can say it, so each end names and types the parts as it takes them.
    Entry: TypeAlias = Any
    Message: TypeAlias = tuple[Any, ...]
    # Entries as they travel: a list, the words of a lane, strings in one, width and cells of rows,
    # or start, stop and step of a range.
    Packed: TypeAlias = (
        list[Entry]
        | tuple[Literal["i", "q", "d"], bytes]
        | tuple[Literal["s"], str | bytes]
        | tuple[Literal["t"], tuple[int, "Packed"]]
        | tuple[int, int, int]
    )

    # A pickle whose large buffers are apart; None: the last of them is the pickle itself; the name
    # of a type: the buffer is the value.
    Head: TypeAlias = bytes | str | None

# marshal gives back exactly these, by exact type; it would turn a bytearray into bytes, so the
# test is by type and never by trying.
PLAIN: frozenset[type] = frozenset({int, float, bool, str, bytes, complex, type(None)})
_LONG: frozenset[type] = frozenset({bytes, str})  # those of them that may be large
_RAW: dict[str, type[bytes | bytearray]] = {"bytes": bytes, "bytearray": bytearray}
# The types of which many travel as an array of 64-bit words, and the format of one: marshal would
# look each object up among those that it has written, which takes ten times as long.
LANES: Final[dict[type, Literal["q", "d"]]] = {int: "q", float: "d"}
_LANE = 16  # so many are worth it
# The words that items are tried to travel as, the smallest first.
_WORDS: dict[type, tuple[Literal["i", "q", "d"], ...]] = {int: ("i", "q"), float: ("d",)}
_SHORT = 64  # characters of strings that travel as one, in the mean
# What travels in bulk where all are of one type. A set asks for identity, where to count the types
# would be to believe a metaclass that says that its class equals another.
_IN_BULK: dict[type, frozenset[type]] = {
    kind: frozenset({kind}) for kind in (int, float, str, bytes, tuple)
}
_LONGEST_PLAIN_TUPLE = 16  # longer ones gain little over pickle, and the test would cost more

_PROTOCOL = 5
_LENGTH = struct.Struct("<Q")
_BLOBS = 1 << 63  # in the length: behind it stand how many blobs there are, and their lengths
# In each length, so that what something else wrote into the socket is not waited for as if it were
# a message, for as long as its bytes happen to say.
_MARK = 0x706D << 48
_SIZE = (1 << 48) - 1
_MAIN = b"__main__"

loads = light_pickle.loads


def is_plain(value: object) -> bool:
    """Return whether `value` may be an entry as it is.

    >>> is_plain(3), is_plain((1, "a")), is_plain([1])
    (True, True, False)
    """
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is not tuple:  # by exact type: a named tuple is not plain
        return False
    row: Any = value
    return len(row) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(map(type, row))


def packed(values: Sequence[object]) -> Packed | None:
    """Return `values` as they travel if all are plain, or None; quick for many of one kind.

    >>> packed([3, "a"]), packed(range(5)), packed([[1]])
    ([3, 'a'], (0, 5, 1), None)
    """
    if isinstance(values, range):
        return values.start, values.stop, values.step
    if len(values) == 1:
        return list(values) if is_plain(values[0]) and not is_long(values[0]) else None
    if len(values) >= _LANE:
        one = type(values[0])
        only = _IN_BULK.get(one)
        if only is not None and only.issuperset(map(type, values)):
            return _packed_alike(one, values)
    kinds = set(map(type, values))
    if PLAIN.issuperset(kinds):
        long: Any = values
        if kinds and kinds <= _LONG and max(map(len, long)) >= LARGE:
            return None
        return list(values)
    rows: Any = values
    return _packed_rows(rows) if kinds == {tuple} else None


def _packed_alike(kind: type, values: Any) -> Packed | None:
    """Return many values of one kind as they travel, or None if not all are plain."""
    for word in _WORDS.get(kind, ()):
        try:
            return word, struct.pack(f"{len(values)}{word}", *values)
        except struct.error:  # an int has more bits than that
            continue
    if kind in _WORDS:
        return list(values)
    if kind is tuple:
        return _packed_rows(values)
    size = sum(map(len, values))
    # marshal would send one that stands there often only once: short ones only.
    if size <= min(LARGE, _SHORT * len(values)):
        zero = "\0" if kind is str else b"\0"
        joined: Any = zero.join(values)
        if joined.count(zero) == len(values) - 1:
            return "s", joined
    return None if size >= LARGE and max(map(len, values)) >= LARGE else list(values)


def _packed_rows(rows: Sequence[tuple[object, ...]]) -> Packed | None:
    """Return tuples as they travel, or None if not all are plain; many alike as their cells."""
    width = len(rows[0])
    if not PLAIN.issuperset(map(type, rows[0])):
        return None  # the others need not be looked at
    if len(rows) >= _LANE and list(map(len, rows)).count(width) == len(rows):
        if not 0 < width <= _LONGEST_PLAIN_TUPLE:
            return None if width else list(rows)
        cells = packed(list(chain.from_iterable(rows)))
        return None if cells is None else ("t", (width, cells))
    if max(map(len, rows)) <= _LONGEST_PLAIN_TUPLE and PLAIN.issuperset(
        map(type, chain.from_iterable(rows))
    ):
        return list(rows)
    return None


def unpacked(values: Packed) -> list[Entry] | range | memoryview[int] | memoryview[float]:
    """Return what `packed` was given: as a list, a range, or a view of a lane."""
    if isinstance(values, list):
        return values
    if len(values) == 3:
        return range(*values)
    if values[0] == "t":
        width, packed_cells = values[1]
        flat = unpacked(packed_cells)
        cells = iter(flat.tolist() if isinstance(flat, memoryview) else flat)
        return list(zip(*[cells] * width, strict=True))
    if values[0] == "s":
        joined = values[1]
        return joined.split("\0") if isinstance(joined, str) else joined.split(b"\0")
    view = memoryview(values[1])
    return view.cast(values[0])


def is_long(value: object) -> bool:
    """Return whether a plain value is one that had better travel in a segment."""
    text: Any = value
    return type(value) in _LONG and len(text) >= LARGE


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


def frame(message: Message) -> bytes:
    """Return the bytes that carry `message`; raises ValueError where something is too large."""
    body = marshal.dumps(message)
    return _LENGTH.pack(len(body) | _MARK) + body


def frame_of_entries(
    make: Callable[[list[Entry]], Message], entries: list[Entry], by_value: bool = True
) -> bytes:
    """Return the bytes that carry the message that `make` makes of `entries`, however large.

    Args:
        make: called with the entries, or with what stands for them.
        entries: what travels.
        by_value: see `dumps`.
    """
    try:
        return frame(make(entries))
    except ValueError:
        blobs: list[bytes] = []
        body = marshal.dumps(make([_apart(entry, blobs, by_value) for entry in entries]))
        sizes = [len(body) | _MARK | _BLOBS, len(blobs), *map(len, blobs)]
        return b"".join([*map(_LENGTH.pack, sizes), body, *blobs])


def _apart(entry: Entry, blobs: list[bytes], by_value: bool) -> Entry:
    """Return what stands for `entry` in a message whose blobs are `blobs`."""
    pickled = _is_list(entry)
    if pickled and len(entry) != 1:
        return entry  # a failure
    blobs.append(entry[0] if pickled else dumps(entry, by_value))
    return [len(blobs) - 1]


def _together(message: Message, blobs: list[bytes]) -> Message:
    """Put the blobs of a message where they belong."""
    for part in message:
        for entry in [part, *part] if _is_list(part) else ():
            if _is_list(entry) and len(entry) == 1 and type(entry[0]) is int:
                entry[0] = blobs[entry[0]]
    return message


def _is_list(value: object) -> bool:
    return type(value) is list


class NotAMessage(Exception):
    """What came was not written by `frame`, or not it alone."""


class FrameReader:
    """Turns the bytes of a stream, in whatever pieces they come, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[list[int]] = deque()
        self._gone: list[int] = []
        self.borrows = False  # segments came that the sender waits for
        self.size = 0  # bytes of the last message and of what its segments carry

    def gone(self) -> list[int]:
        """Return, once, the numbers of segments that came and that nothing here refers to now."""
        if not self._gone:
            return []  # as mostly
        gone = self._gone[:]  # there may be more at any time
        del self._gone[: len(gone)]
        return gone

    def feed(self, data: bytes, fds: list[int] | None = None) -> Iterator[Message]:
        """Yield the messages that `data` completes; raises NotAMessage.

        Args:
            data: the next bytes.
            fds: the descriptors that came with these, which belong to the first message to come
                that has segments.
        """
        if fds is not None:
            self._fds.append(fds)
        buffer = self._buffer
        start = 0
        head = _LENGTH.size
        if not buffer and not self._fds:
            # As mostly: whole messages without segments, which need no copy.
            view, size = memoryview(data), len(data)
            while size - start >= head:
                (word,) = _LENGTH.unpack_from(data, start)
                end = start + head + (word & _SIZE)
                if word & ~_SIZE != _MARK or end > size:
                    break
                message = marshal.loads(view[start + head : end])
                self.size = end - start
                start = end
                yield message
            data = data[start:]
            start = 0
        buffer += data
        while len(buffer) - start >= head:
            (word,) = _LENGTH.unpack_from(buffer, start)
            if (word | _BLOBS) & ~_SIZE != _MARK | _BLOBS:
                raise NotAMessage
            if word & _BLOBS:
                end, message = self._with_blobs(start)
            else:
                end, message = start + head + (word & _SIZE), None
                if len(buffer) >= end:
                    message = self._loaded(start + head, end)
            if message is None:
                break
            self.size = end - start
            start = end
            if self._fds:
                self._unload(message)
            yield message
        if start:
            del buffer[:start]

    def _loaded(self, start: int, end: int) -> Message:
        with memoryview(self._buffer) as view, view[start:end] as body:
            message: Message = marshal.loads(body)
        return message

    def _unload(self, message: Message) -> None:
        """Give each entry of a message its segment, if this is the message that has some."""
        entries = [entry for part in message if _is_list(part) for entry in part]
        entries = [entry for entry in entries if _is_list(entry) and len(entry) == 3]
        if entries:
            fds = self._fds.popleft()
            for place, entry in enumerate(entries):
                self.size += sum(entry[1])
                arrived = place < len(fds)  # else this process may have no more of them
                self.borrows = self.borrows or entry[2] > 0
                entry[2] = Segment(fds[place], entry[2], self._gone) if arrived else None

    def _with_blobs(self, start: int) -> tuple[int, Message | None]:
        """Return where the message at `start` ends, and the message if it is all there."""
        buffer = self._buffer
        head = _LENGTH.size
        if len(buffer) < start + 2 * head:
            return 0, None
        (count,) = _LENGTH.unpack_from(buffer, start + head)
        at = start + (2 + count) * head
        if len(buffer) < at:
            return 0, None
        size = _LENGTH.unpack_from(buffer, start)[0] & _SIZE
        sizes = [_LENGTH.unpack_from(buffer, start + (2 + n) * head)[0] for n in range(count)]
        end = at + size + sum(sizes)
        if len(buffer) < end:
            return 0, None
        message = self._loaded(at, at + size)
        blobs: list[bytes] = []
        at += size
        for length in sizes:
            with memoryview(buffer) as view, view[at : at + length] as blob:
                blobs.append(bytes(blob))
            at += length
        return end, _together(message, blobs)
