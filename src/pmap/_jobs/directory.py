"""The current directory, read without a switch of the interpreter to another thread.

`os.getcwd` releases the interpreter's lock. If a program makes many calls at once, another thread
runs pmap's loop and waits for that lock, so each `os.getcwd` would hand the lock to that thread and
wait until it comes back. That takes longer than all the rest of a small call. The function `getcwd`
of the C library, called through `ctypes.PyDLL`, does not release the lock: it takes half a
microsecond and waits for no disk.
"""

import os
import sys
from collections.abc import Callable
from functools import partial

from .._transport.environment import current_directory
from .._transport.settings import read_locale_by

# After this many calls of `directory_now` this module imports `ctypes`. In so many calls it saves
# as much time as the import takes.
_WORTH = 100
_SIZE = 4096  # longest path in bytes that `_read` can return; `os.getcwd` reads longer ones

_calls = 0  # how many calls of `directory_now` there were before `ctypes` was imported
# A function that returns the path of the current directory as bytes; it returns None if there is no
# path, or if the path is too long. The variable is None until `ctypes` is imported.
_read: Callable[[], bytes | None] | None = None
_last: tuple[bytes, str] | None = None  # the path that was read last, as bytes and as text


def directory_now() -> str | None:
    """Return the current directory; None if the directory was deleted."""
    global _calls, _last
    if _read is not None:
        path = _read()
        if path is not None:
            # `_last` is read only once here, because another thread may change it.
            last = _last
            if last is None or last[0] != path:
                last = _last = path, os.fsdecode(path)
            return last[1]
    elif _calls < _WORTH:
        _calls += 1
        if _calls == _WORTH:
            _prepare()
    return current_directory()


def _prepare() -> None:
    """Read directory and locale by functions of the C library, without releasing the GIL."""
    global _read
    if os.name != "posix" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return
    try:
        import ctypes

        library = ctypes.PyDLL(None)
        getcwd, setlocale = library.getcwd, library.setlocale
    except (
        ImportError,
        OSError,
        AttributeError,
    ):  # this Python has no `ctypes`, or is linked statically
        return
    getcwd.restype = setlocale.restype = ctypes.c_char_p
    # All threads share the buffer. The caller of `getcwd` holds the interpreter's lock until ctypes
    # has copied the path, so no other thread writes into the buffer meanwhile.
    #
    # The arguments are converted here once: with `argtypes`, each call would convert them.
    buffer = ctypes.create_string_buffer(_SIZE)
    _read = partial(getcwd, ctypes.byref(buffer), ctypes.c_size_t(_SIZE))
    read_locale_by(setlocale)
