"""Messages as bytes: they arrive whole, in whatever pieces the bytes come."""

from typing import TYPE_CHECKING

import pytest

from pmap._transport.framing import FrameReader, NotAMessage, frame, frame_of_entries
from pmap._transport.values import dumps

if TYPE_CHECKING:
    from pmap._transport.framing import Message


def test_messages_arrive_byte_by_byte() -> None:
    sent: list[Message] = [(1, "a" * 300), (), (2, [b"x", None])]
    reader = FrameReader()
    stream = b"".join(map(frame, sent))
    assert [m for byte in stream for m in reader.feed(bytes([byte]))] == sent


def test_a_message_is_there_with_its_last_byte() -> None:
    reader = FrameReader()
    data = frame((1, "abc"))
    assert list(reader.feed(data[:-1])) == []
    assert list(reader.feed(data[-1:])) == [(1, "abc")]


@pytest.mark.parametrize("other", [bytes(8), b"\xff" * 8, b"GET / HTTP/1.0", b"x"])
def test_what_is_no_message_is_not_waited_for(other: bytes) -> None:
    feed = FrameReader().feed(frame((1,)) + other + frame((2,)))
    assert next(feed) == (1,)
    with pytest.raises(NotAMessage):
        next(feed)


def test_what_fits_travels_in_the_message() -> None:
    sent = [5, [dumps("pickled")]]
    assert frame_of_entries(lambda entries: (13, entries), sent) == frame((13, sent))
