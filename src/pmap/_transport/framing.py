"""Messages between caller and worker as bytes.

A message is a tuple of plain values. Its bytes are a length, and behind the length the tuple as
``marshal`` writes it. Both processes run the same interpreter, and marshal is several times faster
than pickle for such tuples.

marshal does not take an object of 2 GiB or more. If a message has such an object, the pickled
values of the message travel as *blobs* behind the body of the message. In the body a number stands
for each blob: ``[0]`` is the value whose pickle is the first blob.
"""

from __future__ import annotations

import marshal
import struct

from .descriptors import Descriptor
from .light_stdlib import deque, send_with_fds
from .segments import A_DESCRIPTOR, MOST, Segment
from .values import dumps

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    from .light_stdlib import socket
    from .packing import Entry

    # A message. Its first word says which kind of message it is, and so what the other words are:
    # see the module `protocol`.
    Message: TypeAlias = tuple[Any, ...]


_LENGTH = struct.Struct("<Q")
_BLOBS = 1 << 63  # if a message's length has this bit, large parts (blobs) follow the message
# A bit pattern in the length at the start of each message. If other code has written into the
# socket, the reader sees that the pattern is missing, and does not take those bytes for a message.
_MARK = 0x706D << 48
_SIZE = (1 << 48) - 1


def frame(message: Message) -> bytes:
    """Return the bytes that carry `message`.

    Raises ValueError if an object in the message is too large for marshal.
    """
    body = marshal.dumps(message)
    return _LENGTH.pack(len(body) | _MARK) + body


def frame_of_entries(
    make: Callable[[list[Entry]], Message], entries: list[Entry], by_value: bool = True
) -> bytes:
    """Return the bytes of the message that `make` makes of `entries`, which may be of any size.

    Args:
        make: makes the message from a list of entries: from `entries` themselves, or from a list
            that has the number of a blob in place of each value.
        entries: the values in the message, in the form of `values`: each is pickled or plain.
        by_value: whether functions that cannot be imported may be pickled by value.
    """
    try:
        return frame(make(entries))
    except ValueError:
        blobs: list[bytes] = []
        body = marshal.dumps(make([_apart(entry, blobs, by_value) for entry in entries]))
        sizes = [len(body) | _MARK | _BLOBS, len(blobs), *map(len, blobs)]
        return b"".join([*map(_LENGTH.pack, sizes), body, *blobs])


def _apart(entry: Entry, blobs: list[bytes], by_value: bool) -> Entry:
    """Move the pickle of `entry` to the list `blobs`; return what the message has in its place."""
    pickled = _is_list(entry)
    if pickled and len(entry) != 1:
        # This value stays in the message. It is a failure, or its large buffers are in shared
        # memory. Only a value that is one pickle is sent behind the message.
        return entry
    blobs.append(entry[0] if pickled else dumps(entry, by_value))
    return [len(blobs) - 1]


def _together(message: Message, blobs: list[bytes]) -> Message:
    """Put the pickles `blobs`, which came behind `message`, into the message, and return it."""
    for part in message:
        for entry in [part, *part] if _is_list(part) else ():
            if _is_list(entry) and len(entry) == 1 and type(entry[0]) is int:
                entry[0] = blobs[entry[0]]
    return message


def _is_list(value: object) -> bool:
    return type(value) is list


def send_batch(sock: socket, data: bytes | memoryview, fds: list[int]) -> int:
    """Send as much of `data` as the socket takes now, with at most `MOST` of the descriptors.

    Return how many bytes were sent. If there are more descriptors, only one byte is sent, and the
    next call has to send the rest of the descriptors with the rest of the bytes. A message has some
    bytes for each descriptor, so there are enough bytes for as many calls as are needed.
    """
    return send_with_fds(sock, data[:1] if len(fds) > MOST else data, fds[:MOST])


class NotAMessage(Exception):
    """Raised when received bytes are no message: other code has written into the socket."""


class FrameReader:
    """Turns the bytes that a socket receives, in pieces of any size, into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[list[int]] = deque()
        self._gone: list[int] = []
        # Whether any lent segment (shared memory that the sender wants back) has arrived.
        self.borrows = False
        self.size = 0  # how many bytes the last message had, shared memory included

    def gone(self) -> list[int]:
        """Return the numbers of the lent segments (shared memory) that this process uses no more.

        Only the segments that went out of use since the last call are returned.
        """
        if not self._gone:
            return []  # the usual case: no shared memory has gone out of use
        # The list is copied first, because a finaliser may append to it at any time.
        gone = self._gone[:]
        del self._gone[: len(gone)]
        return gone

    def feed(self, data: bytes, fds: list[int] | None = None) -> Iterator[Message]:
        """Yield the messages that `data` completes; raise NotAMessage if other code wrote `data`.

        Args:
            data: the next bytes.
            fds: the descriptors that came with these bytes. The descriptors belong to the next
                message that has shared-memory segments or descriptors.
        """
        if fds is not None:
            self._fds.append(fds)
        buffer = self._buffer
        start = 0
        head = _LENGTH.size
        if not buffer and not self._fds:
            # The usual case: `data` consists of whole messages without shared memory, so nothing
            # need be copied.
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
        """Put shared memory and descriptors that came with a message into the message's entries."""
        entries = [entry for part in message if _is_list(part) for entry in part]
        entries = [entry for entry in entries if _is_list(entry) and len(entry) == 3]
        plain = [[size for size in entry[1] if size is not None and size >= 0] for entry in entries]
        wanted = sum([bool(sizes) for sizes in plain])
        wanted += sum([entry[1].count(A_DESCRIPTOR) for entry in entries])
        if not wanted:
            return
        fds = iter(self._arrived(wanted))
        for entry, sizes in zip(entries, plain, strict=True):
            if sizes:
                self.size += sum(sizes)
                fd, number = next(fds), entry[2]
                self.borrows = self.borrows or number > 0
                entry[2] = Segment(fd, number, self._gone) if fd >= 0 else None
            if A_DESCRIPTOR in entry[1]:
                entry[1] = tuple(
                    [Descriptor(next(fds)) if size == A_DESCRIPTOR else size for size in entry[1]]
                )

    def _arrived(self, wanted: int) -> list[int]:
        """Return the next descriptors; -1 stands for a descriptor that this process did not get.

        The sender sends at most `MOST` descriptors at a time, the first batch with the first byte
        of the message.
        """
        fds: list[int] = []
        while len(fds) < wanted:
            batch = self._fds.popleft() if self._fds else []
            fds += batch + [-1] * (min(MOST, wanted - len(fds)) - len(batch))
        return fds

    def _with_blobs(self, start: int) -> tuple[int, Message | None]:
        """Return where the message at `start`, with the blobs behind it, ends; and the message.

        A blob is a large pickle that travels behind a message. Return None in place of the message
        if some of its bytes have not arrived yet.
        """
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
