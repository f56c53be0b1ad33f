"""Frozen programs: what they call at their beginning, in case that they are to be a worker."""

import os
import sys

from .._transport.started import MARK
from .._worker import startup


def freeze_support() -> None:
    """Be a worker, if pmap has started this program for that; else do nothing.

    A program that is frozen (by PyInstaller, cx_Freeze, Nuitka and the like) is its own Python, so
    workers begin as this program, too. It has to call this before anything else, or
    ``multiprocessing.freeze_support``, which does the same where the freezer supports that::

        import pmap

        if __name__ == "__main__":
            pmap.freeze_support()
            main()

    In a process that is to be a worker it does not return. Without it the first call of a verb
    raises `WorkerStartError`.

    >>> from pmap import freeze_support
    >>> freeze_support()
    """
    startup.become()


def replace_the_standard_one() -> None:
    """Let `multiprocessing.freeze_support` do this, too: it does nothing but on Windows."""
    if MARK in os.environ and getattr(sys, "frozen", False):
        from multiprocessing.context import BaseContext

        # Not only the attribute: the program may have imported the method by its name.
        BaseContext.freeze_support.__code__ = _stand_in.__code__


def _stand_in(self: object) -> None:  # noqa: ARG001
    # In full: it runs with the globals of the standard one.
    from pmap._worker.startup import become

    become()
