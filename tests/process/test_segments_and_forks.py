"""What a real fork means for memory that is lent; the rest of segments is in tests/unit."""

import gc
import os

from pmap._transport.segments import Segment, written

PAGE = 1 << 12


def test_what_a_fork_has_mapped_is_not_said_to_be_gone() -> None:
    gone: list[int] = []
    segment = written([bytes(PAGE)])
    assert segment is not None
    before, after = (Segment(os.dup(segment.fd), n, gone) for n in (1, 2))
    view = before.read([PAGE])
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    del before, view
    gc.collect()
    assert gone == []
    view = after.read([PAGE])
    del after, view
    gc.collect()
    assert gone == [2]
