"""Messages as bytes: they arrive whole, in whatever pieces the bytes come."""

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._transport.framing import FrameReader, NotAMessage, frame, frame_of_entries
from pmap._transport.values import dumps, loads

if TYPE_CHECKING:
    from pmap._transport.framing import Message


class Point(NamedTuple):
    x: int
    y: int


# -0.0 and NaN among them; strings with lone surrogates, as file names have them
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
)


messages = st.lists(
    st.lists(plain | st.lists(plain, max_size=3), max_size=5).map(tuple), max_size=6
)


@given(messages, st.data())
def test_messages_arrive_in_whatever_pieces(sent: "list[Message]", data: st.DataObject) -> None:
    stream = b"".join(map(frame, sent))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reader = FrameReader()
    arrived: list[Message] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += reader.feed(stream[start:stop])
    assert repr(arrived) == repr(sent)


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


@given(st.integers(1, 50), st.data())
def test_what_is_too_large_travels_behind_the_message(piece: int, data: st.DataObject) -> None:
    # Here an object that marshal does not take stands for one that is too large for it.
    sent = [5, [dumps("pickled")], Point(1, 2), [3, "a failure", "of several parts"], None]
    framed = frame_of_entries(lambda entries: (13, 7, entries, True), sent)
    with pytest.raises(ValueError, match="unmarshallable"):
        frame((13, 7, sent, True))
    several = frame((1,)) + framed + framed + frame((2, [4], ["argv"]))
    reader = FrameReader()
    messages: list[Message] = []
    while several:
        piece = data.draw(st.integers(1, 200)) if len(several) < 400 else piece
        messages += reader.feed(several[:piece])
        several = several[piece:]
    first, one, two, last = messages
    assert first == (1,)
    assert last == (2, [4], ["argv"])
    assert one == two
    what, serial, entries, end = one
    assert (what, serial, end) == (13, 7, True)
    assert loads(entries[0][0]) == 5
    assert loads(entries[1][0]) == "pickled"
    assert loads(entries[2][0]) == Point(1, 2)
    assert entries[3] == sent[3]
    assert loads(entries[4][0]) is None


def test_what_fits_travels_in_the_message() -> None:
    sent = [5, [dumps("pickled")]]
    assert frame_of_entries(lambda entries: (13, entries), sent) == frame((13, sent))
