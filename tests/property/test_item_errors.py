"""An ordinary exception arrives at the caller as it was in the worker."""

import builtins

from hypothesis import example, given
from hypothesis import strategies as st
from tests.travelled_errors import across

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
