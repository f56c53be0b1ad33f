"""Segments that are used again: whose they are, how much is kept, and that none is too large."""

import errno
import gc
import os
from pathlib import Path
from typing import Final

import pytest

from pmap._transport import segment_pool
from pmap._transport.segment_pool import Loans, Shelf
from pmap._transport.segments import Segment

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there are none here")

PAGE: Final = 4096
ROOM: Final = 20 * PAGE
MOST: Final = 5


def sent(loans: Loans, size: int) -> Segment:
    segment = loans.written([bytes(size)])
    assert segment is not None
    return segment


def test_what_came_back_is_used_again() -> None:
    loans = Loans(Shelf(), ROOM, MOST)
    first = sent(loans, 2 * PAGE)
    inode = os.fstat(first.fd).st_ino
    assert os.fstat(sent(loans, 2 * PAGE).fd).st_ino != inode
    old = first.number
    loans.back([old])
    assert sent(loans, 2 * PAGE) is first
    assert first.number != old, "a number is not used again: who says the old one is late"
    loans.back([old])
    assert sent(loans, 2 * PAGE) is not first


def test_those_that_are_kept_for_ever_do_not_stand_in_the_way() -> None:
    loans = Loans(Shelf(), ROOM, MOST)
    kept = [sent(loans, PAGE) for _ in range(MOST)]
    assert all(segment.number for segment in kept)
    refused = 0
    while not sent(loans, PAGE).number:
        refused += 1
        assert refused < 100
    assert refused > MOST, "all of them may come back at once"


def test_what_is_on_the_shelf_makes_room_for_what_is_larger() -> None:
    shelf = Shelf()
    loans = Loans(shelf, ROOM, MOST)
    loans.back([sent(loans, 4 * PAGE).number for _ in range(MOST)])
    assert shelf.size == 20 * PAGE
    assert sent(loans, 15 * PAGE).number
    assert shelf.size == 4 * PAGE


def test_nothing_is_lent_without_room() -> None:
    loans = Loans(Shelf(), 0, MOST)
    segment = sent(loans, PAGE)
    assert segment.number == 0
    gone: list[int] = []
    Segment(os.dup(segment.fd), segment.number, gone).read([PAGE])
    assert not gone


def test_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_pool, "most_at_once", lambda: 2)
    shelf = Shelf()
    loans = Loans(shelf, ROOM, MOST)
    numbers = [sent(loans, PAGE).number for _ in range(3)]
    assert [bool(number) for number in numbers] == [True, True, False]
    loans.back(numbers)
    # None of these fits: they are not kept for that, besides what does.
    for pages in (4, 16, 1):
        loans.back([sent(loans, pages * PAGE).number])
        assert len(vars(shelf)["_free"]) <= 2


def test_what_was_not_used_for_longest_goes_first() -> None:
    shelf = Shelf()
    loans = Loans(shelf, ROOM, MOST)
    loans.back([sent(loans, size * PAGE).number for size in (8, 1, 2)])
    loans.back([sent(loans, 8 * PAGE).number])
    assert [segment.size // PAGE for segment in vars(shelf)["_free"]] == [1, 2, 8]
    shelf.shrink(9 * PAGE, MOST)
    assert [segment.size // PAGE for segment in vars(shelf)["_free"]] == [8]


def test_a_descriptor_that_is_closed_just_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    loans = Loans(Shelf(), ROOM, MOST)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fail)
        assert sent(loans, PAGE).number == 0


@pytest.mark.parametrize("reopened", [False, True])
def test_a_descriptor_that_became_another_file_is_left_alone(
    reopened: bool, tmp_path: Path
) -> None:
    loans = Loans(Shelf(), ROOM, MOST)
    segment = sent(loans, PAGE)
    number, fd = segment.number, segment.fd
    own = os.open(tmp_path / "own", os.O_RDWR | os.O_CREAT)
    if reopened:
        os.dup2(own, fd)
    else:
        os.close(fd)
    os.close(own)
    loans.back([number])
    del segment
    other = sent(loans, PAGE)
    assert os.fstat(other.fd).st_size == PAGE
    del loans, other
    gc.collect()
    if reopened:
        assert os.fstat(fd).st_size == 0, "nothing was written into it, nor was it closed"
        os.close(fd)
