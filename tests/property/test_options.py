"""Every positive number is a count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._calls.options import Settings, in_force, merge


@pytest.mark.parametrize("name", ["processes", "chunksize", "max_tasks_per_child"])
@given(number=st.integers(1, 2**70))
def test_a_count(name: str, number: int) -> None:
    assert in_force(merge(Settings(), {name: number}))[name] == number
