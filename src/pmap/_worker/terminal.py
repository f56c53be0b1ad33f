"""What an item finds in place of a terminal: an error that says what to do.

A worker's standard input is empty. A debugger that reads its commands there would end at once, and
leave an error that says nothing of why.
"""

from __future__ import annotations

import builtins
import os
import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import NoReturn

_HOW = 'give the call backend="serial", then its items run in the process that has the terminal'
_true_input = input


def begin() -> None:
    """Put it in place, unless the program has a hook of its own, such as a remote debugger's."""
    # With the variable set the interpreter's own hook finds what it names: through one of ours, a
    # debugger would stop in the wrong frame.
    if sys.breakpointhook is sys.__breakpointhook__ and not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = _break
    builtins.input = _input


def _break(*args: object, **kwargs: object) -> object:
    """Stand for ``breakpoint``."""
    if not os.environ.get("PYTHONBREAKPOINT") and sys.stdin is sys.__stdin__:
        _refuse_debugger()
    return sys.__breakpointhook__(*args, **kwargs)  # noqa: T100 - what the program asks for


def _input(*prompt: object) -> str:
    """Stand for ``input``: for a debugger, and for all others."""
    if sys.stdin is not sys.__stdin__:  # an initializer or an item has opened one of its own
        return _true_input(*prompt)
    if sys._getframe(1).f_globals.get("__name__") == "cmd":  # where pdb reads its commands
        _refuse_debugger()
    raise EOFError(f"input() in an item: a worker has no terminal to read from; {_HOW}")


def _refuse_debugger() -> NoReturn:
    raise RuntimeError(
        f"a debugger in an item: a worker has no terminal to read commands from; {_HOW}"
    )
