"""``input`` and ``breakpoint`` in a worker: they raise an error that says what to do instead.

The standard input of a worker is empty. If a debugger read its commands from the standard input, it
would end at once, with an error that does not say why.
"""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import NoReturn

_HOW = 'give the call backend="serial", then its items run in the process that has the terminal'
_true_input = input


def begin() -> None:
    """Replace ``input``; and ``sys.breakpointhook``, unless the program has set a hook itself."""
    # If PYTHONBREAKPOINT is set, Python's own hook stays, which calls the function that the
    # variable names. If `_break` called that function, the debugger would stop in the frame of
    # `_break`.
    if sys.breakpointhook is sys.__breakpointhook__ and not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = _break
    builtins.input = _input


def _break(*args: object, **kwargs: object) -> object:
    """Raise an error at ``breakpoint()``, unless PYTHONBREAKPOINT or ``sys.stdin`` was set."""
    if not os.environ.get("PYTHONBREAKPOINT") and sys.stdin is sys.__stdin__:
        _refuse_debugger()
    return sys.__breakpointhook__(*args, **kwargs)  # noqa: T100 - what the program asks for


def _input(*prompt: object) -> str:
    """Raise an error at ``input()``; a debugger that asks for commands gets an error of its own."""
    # The program has replaced ``sys.stdin``, so the new ``sys.stdin`` may have something to read.
    if sys.stdin is not sys.__stdin__:
        return _true_input(*prompt)
    # The standard module ``cmd`` has called `input`: pdb asks for its next command.
    if sys._getframe(1).f_globals.get("__name__") == "cmd":
        _refuse_debugger()
    raise EOFError(f"input() in an item: a worker has no terminal to read from; {_HOW}")


def _refuse_debugger() -> NoReturn:
    raise RuntimeError(
        f"a debugger in an item: a worker has no terminal to read commands from; {_HOW}"
    )
