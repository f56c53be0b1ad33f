"""What an item does to its surroundings, undone before the next item begins."""

from __future__ import annotations

import os
import sys

from .._transport.environment import apply_world, take_world
from .._transport.settings import apply_settings

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from .._transport.environment import World

# Whatever an item makes of `os._exit`: a fork must not come back to the caller's code.
exit_process = os._exit

_FORKED = "forked"  # this is a fork of the worker, which an item made
_TELLING = frozenset({"os.chdir", "os.putenv", "os.unsetenv"})

# What an item did to its surroundings and is not undone yet: the names of the audit events that
# tell of it. A list of the module's, since it is looked at after each item.
traces: list[str] = []


def _notice(event: str, _: tuple[object, ...]) -> None:
    if event in _TELLING:
        traces.append(event)


class Surroundings:
    """Directory, environment and the like, as each item is to find them."""

    def __init__(self) -> None:
        self._world: World | None = None  # the caller's that is in place
        self._own: World | None = None  # what an item is to find
        self._least_recursion = 0  # the limit that an item is to have, at least
        self._applied = sys.getrecursionlimit()  # the limit that was put in place last

    def watch(self) -> None:
        """Take note of what items do, from now on."""
        sys.addaudithook(_notice)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=lambda: traces.append(_FORKED))

    def apply(self, world: World) -> None:
        """Put in place what a call found at its caller."""
        if world is not self._world:
            self._world = self._own = world
            apply_world(world)
            traces.clear()

    def keep(self) -> None:
        """Let what is in place now, which the initializer has set, be there for all items."""
        self._own = take_world()
        self._notice_recursion()
        traces.clear()

    def apply_settings(self) -> None:
        """Put in place the settings of the call whose chunk begins, whatever an item made of them.

        A recursion limit that was raised here stays: a module that does so when it is imported
        needs it.
        """
        self._notice_recursion()
        if self._own is not None:
            apply_settings(self._own[3], self._least_recursion)
        self._applied = sys.getrecursionlimit()

    def _notice_recursion(self) -> None:
        if sys.getrecursionlimit() > self._applied:
            self._least_recursion = sys.getrecursionlimit()

    def tidy(self) -> None:
        """Undo what an item did, so that the next one finds its own surroundings.

        What returns from an item in a process that the item forked is no worker: it ends here.
        """
        if _FORKED in traces:
            exit_process(0)
        if self._own is not None:
            apply_world(self._own)
        traces.clear()
