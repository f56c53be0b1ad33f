"""Segments that are used again: whose they are, how much is kept, and that none is too large."""

import errno
import gc
import os
from pathlib import Path
from typing import Final

import pytest

from pmap._transport import segment_pool
from pmap._transport.segment_pool import FreeSegments, LentSegments
from pmap._transport.segments import Segment

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there are none here")

PAGE: Final = 4096
ROOM: Final = 20 * PAGE
MOST: Final = 5


def sent(lent_segments: LentSegments, size: int) -> Segment:
    segment = lent_segments.written([bytes(size)])
    assert segment is not None
    return segment


def test_what_came_back_is_used_again() -> None:
    lent_segments = LentSegments(FreeSegments(), ROOM, MOST)
    first = sent(lent_segments, 2 * PAGE)
    inode = os.fstat(first.fd).st_ino
    assert os.fstat(sent(lent_segments, 2 * PAGE).fd).st_ino != inode
    old = first.number
    lent_segments.back([old])
    assert sent(lent_segments, 2 * PAGE) is first
    assert first.number != old, "a number is not used again: who says the old one is late"
    lent_segments.back([old])
    assert sent(lent_segments, 2 * PAGE) is not first


def test_those_that_are_kept_for_ever_do_not_stand_in_the_way() -> None:
    lent_segments = LentSegments(FreeSegments(), ROOM, MOST)
    kept = [sent(lent_segments, PAGE) for _ in range(MOST)]
    assert all(segment.number for segment in kept)
    refused = 0
    while not sent(lent_segments, PAGE).number:
        refused += 1
        assert refused < 100
    assert refused > MOST, "all of them may come back at once"


def test_what_is_free_makes_room_for_what_is_larger() -> None:
    free_segments = FreeSegments()
    lent_segments = LentSegments(free_segments, ROOM, MOST)
    lent_segments.back([sent(lent_segments, 4 * PAGE).number for _ in range(MOST)])
    assert free_segments.size == 20 * PAGE
    assert sent(lent_segments, 15 * PAGE).number
    assert free_segments.size == 4 * PAGE


def test_nothing_is_lent_without_room() -> None:
    lent_segments = LentSegments(FreeSegments(), 0, MOST)
    segment = sent(lent_segments, PAGE)
    assert segment.number == 0
    gone: list[int] = []
    Segment(os.dup(segment.fd), segment.number, gone).read([PAGE])
    assert not gone


def test_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_pool, "most_at_once", lambda: 2)
    free_segments = FreeSegments()
    lent_segments = LentSegments(free_segments, ROOM, MOST)
    numbers = [sent(lent_segments, PAGE).number for _ in range(3)]
    assert [bool(number) for number in numbers] == [True, True, False]
    lent_segments.back(numbers)
    # None of these fits: they are not kept for that, besides what does.
    for pages in (4, 16, 1):
        lent_segments.back([sent(lent_segments, pages * PAGE).number])
        assert len(vars(free_segments)["_free"]) <= 2


def test_what_was_not_used_for_longest_goes_first() -> None:
    free_segments = FreeSegments()
    lent_segments = LentSegments(free_segments, ROOM, MOST)
    lent_segments.back([sent(lent_segments, size * PAGE).number for size in (8, 1, 2)])
    lent_segments.back([sent(lent_segments, 8 * PAGE).number])
    assert [segment.size // PAGE for segment in vars(free_segments)["_free"]] == [1, 2, 8]
    free_segments.shrink(9 * PAGE, MOST)
    assert [segment.size // PAGE for segment in vars(free_segments)["_free"]] == [8]


def test_a_descriptor_that_is_closed_just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    lent_segments = LentSegments(FreeSegments(), ROOM, MOST)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fail)
        assert sent(lent_segments, PAGE).number == 0


@pytest.mark.parametrize("reopened", [False, True])
def test_a_descriptor_that_became_another_file_is_left_alone(
    reopened: bool, tmp_path: Path
) -> None:
    lent_segments = LentSegments(FreeSegments(), ROOM, MOST)
    segment = sent(lent_segments, PAGE)
    number, fd = segment.number, segment.fd
    own = os.open(tmp_path / "own", os.O_RDWR | os.O_CREAT)
    if reopened:
        os.dup2(own, fd)
    else:
        os.close(fd)
    os.close(own)
    lent_segments.back([number])
    del segment
    other = sent(lent_segments, PAGE)
    assert os.fstat(other.fd).st_size == PAGE
    del lent_segments, other
    gc.collect()
    if reopened:
        assert os.fstat(fd).st_size == 0, "nothing was written into it, nor was it closed"
        os.close(fd)
