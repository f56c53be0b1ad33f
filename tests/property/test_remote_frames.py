"""Any place in a source is shown by a traceback where it is."""

from types import CodeType
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from pmap._jobs.remote_frames import traceback_of

if TYPE_CHECKING:
    from pmap._transport.trace import Place


numbers = st.integers(0, 10_000)


@given(numbers, st.integers(-5, 3000), st.integers(0, 200), numbers, numbers)
def test_any_place_is_where_it_says(
    first_line: int, down: int, lines: int, column: int, last_column: int
) -> None:
    line = max(0, first_line + down)
    where = (line, line + lines, column, last_column)
    place: Place = ("file", "name", "a.name", "module", first_line, *where, "")
    trace = traceback_of((place,))
    assert trace is not None
    code: CodeType = trace.tb_frame.f_code
    assert {*code.co_positions()} == {where}
    assert (code.co_firstlineno, code.co_qualname) == (first_line, "a.name")
    assert (trace.tb_lineno, trace.tb_frame.f_lineno) == (line, line)
