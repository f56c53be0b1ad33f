"""An ordinary exception arrives at the caller as it was in the worker."""

import builtins

from hypothesis import example, given
from hypothesis import strategies as st

from pmap._jobs.item_errors import Item, restore
from pmap._transport.failure_record import (
    capture,
)
from pmap._transport.framing import FrameReader, frame

ITEM = Item("render", 7, "'page.md'")


def raised(error: BaseException) -> BaseException:
    """Return `error` with a traceback, as a worker has it."""
    try:
        raise error
    except BaseException as caught:
        return caught


def across(error: BaseException, as_text: bool = False) -> Exception:
    """Return what the caller gets for an exception that an item raised in a worker."""
    (message,) = FrameReader().feed(frame((1, capture(raised(error)))))
    return restore(message[1], ITEM, as_text=as_text)


ordinary = st.sampled_from(
    [
        kind
        for kind in vars(builtins).values()
        if isinstance(kind, type)
        and issubclass(kind, Exception)
        and not issubclass(kind, (ExceptionGroup, UnicodeError, StopIteration, StopAsyncIteration))
    ]
)


arguments = st.lists(st.integers() | st.text() | st.none(), max_size=3)


@given(ordinary, arguments)
@example(BlockingIOError, [None, None, 2**63])
def test_an_ordinary_exception_arrives_as_it_was(kind: type[Exception], args: list[object]) -> None:
    try:
        error = kind(*args)
    except (TypeError, ValueError):
        return  # it does not take these: BlockingIOError has a count of bytes for its third
    arrived = across(error)
    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert repr(arrived) == repr(error)
    if not isinstance(error, (SyntaxError, KeyError)) or args:
        assert str(arrived) == str(error)
