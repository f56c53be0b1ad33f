"""Messages arrive whole, in whatever pieces their bytes come, however large they are."""

from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.property.plain_values import plain

from pmap._transport.framing import FrameReader, frame, frame_of_entries
from pmap._transport.values import dumps, loads

if TYPE_CHECKING:
    from pmap._transport.framing import Message


class Point(NamedTuple):
    x: int
    y: int


messages = st.lists(
    st.lists(plain | st.lists(plain, max_size=3), max_size=5).map(tuple), max_size=6
)


TWICE = "an object that stands twice is written once"


# How long a stream is depends on which of the equal objects in it are one, so it is not drawn from.
@given(messages, st.lists(st.integers(0, 1 << 16), max_size=12))
@example([(TWICE, TWICE), (TWICE,)], [10, 60, 70])
def test_messages_arrive_in_whatever_pieces(sent: "list[Message]", places: list[int]) -> None:
    stream = b"".join(map(frame, sent))
    cuts = sorted(place % (len(stream) + 1) for place in places)
    reader = FrameReader()
    arrived: list[Message] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += reader.feed(stream[start:stop])
    assert repr(arrived) == repr(sent)


@given(st.lists(st.integers(1, 200), min_size=1))
@example([1])
@example([10_000])
def test_what_is_too_large_travels_behind_the_message(pieces: list[int]) -> None:
    # Here an object that marshal does not take stands for one that is too large for it.
    sent = [5, [dumps("pickled")], Point(1, 2), [3, "a failure", "of several parts"], None]
    framed = frame_of_entries(lambda entries: (13, 7, entries, True), sent)
    with pytest.raises(ValueError, match="unmarshallable"):
        frame((13, 7, sent, True))
    several = frame((1,)) + framed + framed + frame((2, [4], ["argv"]))
    reader = FrameReader()
    messages: list[Message] = []
    for piece in cycle(pieces):
        if not several:
            break
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
