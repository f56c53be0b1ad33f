"""`freeze_support`, which a frozen program calls first, so that it can become a worker."""

import os
import sys

from .._transport.started import MARK
from .._worker import startup


def freeze_support() -> None:
    """Become a worker process, if pmap has started this program as one; else do nothing.

    A program that is frozen (by PyInstaller, cx_Freeze, Nuitka and the like) is its own Python, so
    each worker process begins as this program, too. A frozen program has to call this function
    before anything else, or ``multiprocessing.freeze_support``, which does the same if the freezer
    supports ``multiprocessing``::

        import pmap

        if __name__ == "__main__":
            pmap.freeze_support()
            main()

    If the process is to become a worker, the function does not return. If a frozen program does not
    call the function, its first call of a verb raises `WorkerStartError`.

    >>> from pmap import freeze_support
    >>> freeze_support()
    """
    startup.become()


def replace_the_standard_one() -> None:
    """Let `multiprocessing.freeze_support` do what `pmap.freeze_support` does.

    Programs call the standard function already. By itself it does something on Windows only.
    """
    if MARK in os.environ and getattr(sys, "frozen", False):
        from multiprocessing.context import BaseContext

        # The code of the standard function is replaced, and not its name in the module, because the
        # program may have imported the function itself.
        BaseContext.freeze_support.__code__ = _stand_in.__code__


def _stand_in(self: object) -> None:  # noqa: ARG001
    # The import is absolute, because the code of this function will run as a function of the module
    # `multiprocessing.context`.
    from pmap._worker.startup import become

    become()
