"""Segments that are lent and come back, whoever lets go of what, wherever a signal strikes."""

import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pmap._transport import segment_pool
from pmap._transport import segments as _segments
from pmap._transport.segment_pool import FreeSegments, LentSegments
from pmap._transport.segments import Segment, most_at_once

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there are none here")

PAGE: Final = 4096
ROOM: Final = 20 * PAGE
MOST: Final = 5


class Received:
    """What a receiver has of a segment."""

    def __init__(self, segment: Segment, data: bytes, gone: list[int]) -> None:
        self.data = data
        self.inode = os.fstat(segment.fd).st_ino
        self.number = segment.number
        arrived = Segment(os.dup(segment.fd), segment.number, gone)
        [self.view] = arrived.read([len(data)])


class Lending(RuleBasedStateMachine):
    """A sender with some receivers, who keep what they get for as long as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()
        self.gone: list[int] = []
        self.held: list[Received] = []
        self.count = 0

    @rule(pages=st.integers(1, 25), less=st.integers(0, PAGE - 1))
    def send(self, pages: int, less: int) -> None:
        self.count += 1
        data = bytes([self.count % 256]) * (pages * PAGE - less)
        segment = self.lent_segments.written([data])
        assert segment is not None
        received = Received(segment, data, self.gone)
        size = os.fstat(segment.fd).st_size
        assert len(data) <= size <= len(data) * 8 / 7 + 64, "a receiver may keep it for ever"
        assert received.inode not in {other.inode for other in self.held}
        self.held.append(received)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))

    @rule()
    def tell(self) -> None:
        told = self.gone[:]
        self.gone.clear()
        self.lent_segments.back(told)

    @rule()
    def forget(self) -> None:
        self.free_segments = FreeSegments()
        self.lent_segments = LentSegments(self.free_segments, ROOM, MOST)

    def teardown(self) -> None:
        self.held.clear()
        self.forget()

    @invariant()
    def what_is_held_stays_what_it_was(self) -> None:
        for received in self.held:
            assert received.view == received.data

    @invariant()
    def no_more_is_kept_than_there_is_room_for(self) -> None:
        lent = vars(self.lent_segments)["_lent"].values()
        free = vars(self.free_segments)["_free"]
        assert self.free_segments.size == sum(segment.size for segment in free)
        assert sum(segment.size for segment in (*lent, *free)) <= ROOM
        assert len(lent) <= MOST
        assert len({segment.fd for segment in (*lent, *free)}) <= most_at_once()


TestLending = Lending.TestCase


TestLending.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def sent(lent_segments: LentSegments, size: int) -> Segment:
    segment = lent_segments.written([bytes(size)])
    assert segment is not None
    return segment


Tracer: TypeAlias = Callable[[FrameType, str, Any], "Tracer | None"]


class _Strike(Exception):
    """What a signal's handler raises."""


def striking(line: int) -> Tracer:
    """Return what raises at a line of the module, the `line`-th to be run."""
    left = [line]

    def trace(frame: FrameType, event: str, _: object) -> Tracer | None:
        if frame.f_code.co_filename not in (_segments.__file__, segment_pool.__file__):
            return None
        if frame.f_code.co_name in ("__del__", "__init__", "new"):
            return (
                None  # what would be raised there is not heard of; a new descriptor would be lost
            )
        if event == "line":
            left[0] -= 1
            if left[0] < 0:
                raise _Strike
        return trace

    return trace


@given(strikes=st.lists(st.integers(0, 60), min_size=1, max_size=6), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_signal_may_strike_anywhere(strikes: list[int], data: st.DataObject) -> None:
    free_segments = FreeSegments()
    lent_segments = LentSegments(free_segments, ROOM, MOST)
    for strike in strikes:
        trace = striking(strike)
        pages = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
        before = sys.gettrace()
        try:
            sys.settrace(trace)
            lent_segments.back([sent(lent_segments, size * PAGE).number for size in pages])
        except _Strike:
            pass
        finally:
            sys.settrace(before)
    # Wherever the exception struck: it works as before, and no more is kept than may be.
    for size in (1, 8, 3, 20):
        lent_segments.back([sent(lent_segments, size * PAGE).number])
        lent = vars(lent_segments)["_lent"].values()
        assert sum(segment.size for segment in (*lent, *vars(free_segments)["_free"])) <= ROOM
    free_segments.shrink(0, 0)
    assert vars(free_segments)["_free"] == []


@given(order=st.permutations([0, 0, 1, 1]), mapped=st.integers(0, 4), gone=st.integers(0, 4))
def test_forks_by_two_threads_at_once(order: list[int], mapped: int, gone: int) -> None:
    """What was mapped before the end of a fork, and lives on in the child, is never free."""
    forks = _segments._Forks()
    marks: list[object] = []
    running: set[int] = set()
    forked_since = False
    for step in range(5):
        if step == mapped:
            marks.append(forks.last)
            forked_since = False
        if marks and step >= gone:
            said = marks[0] is forks.last and not forks.now
            assert not (said and (forked_since or running))
        if step < len(order):
            thread = order[step]
            if thread in running:
                forked_since = True  # the fork is somewhere between the two
                running.remove(thread)
                forks._end()
            else:
                running.add(thread)
                forks._begin()
    assert not forks.now


def test_segments_are_lent_by_one_thread_while_others_let_go() -> None:
    lent_segments = LentSegments(FreeSegments(), ROOM, MOST)
    gone: list[int] = []
    arrived: SimpleQueue[Received | None] = SimpleQueue()
    wrong: list[int] = []

    def let_go() -> None:
        while (received := arrived.get()) is not None:
            if bytes(received.view) != received.data:
                wrong.append(received.number)
            del received

    threads = [threading.Thread(target=let_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    inodes: set[int] = set()
    for number in range(500):
        data = bytes([number % 256]) * (PAGE * (1 + number % 3))
        segment = lent_segments.written([data])
        assert segment is not None
        inodes.add(os.fstat(segment.fd).st_ino)
        arrived.put(Received(segment, data, gone))
        told = gone[:]
        del gone[: len(told)]
        lent_segments.back(told)
    for _ in threads:
        arrived.put(None)
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(inodes) < 500


@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=8), size=st.integers(1, 8))
def test_the_one_that_fits_best(sizes: list[int], size: int) -> None:
    lent_segments = LentSegments(FreeSegments(), 100 * PAGE, 100)
    segments = [sent(lent_segments, one * PAGE) for one in sizes]
    lent_segments.back([segment.number for segment in segments])
    before = {id(segment): segment.size // PAGE for segment in segments}
    used = before.get(id(sent(lent_segments, size * PAGE)))
    fitting = [one for one in sizes if size <= one <= 2 * size]
    smaller = [one for one in sizes if one < size]
    best = min(fitting) if fitting else max(smaller, default=None)
    assert used == best
