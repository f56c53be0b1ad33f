"""The current directory is read as `os.getcwd` reads it, also where that keeps the lock."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._jobs import directory
from pmap._jobs.directory import directory_now

posix = pytest.mark.skipif(os.name != "posix", reason="`os.getcwd` is called on Windows")


@given(st.integers(0, directory._WORTH + 2))
def test_ctypes_is_asked_after_many_calls(calls: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "_read", None)
        patch.setattr(directory, "_calls", 0)
        for _ in range(calls):
            assert directory_now() == os.getcwd()
        # Without the GIL a call of ctypes would keep no other thread from the buffer.
        may = os.name == "posix" and getattr(sys, "_is_gil_enabled", lambda: True)()
        enough = calls >= directory._WORTH and may
        assert (directory._read is not None) == enough
