"""What a process inherits from the caller that starts it: descriptors, and blocked signals."""

import contextlib
import os
from collections.abc import Generator

from .._transport.light_stdlib import signal


def inherited_descriptors() -> list[int]:
    """Return the descriptors that children of this process inherit, but no standard streams.

    The list is empty if the system has no /dev/fd.
    """
    inherited: list[int] = []
    with contextlib.suppress(OSError):
        for fd in map(int, os.listdir("/dev/fd")):
            # OSError: the listing has the descriptor with which /dev/fd was read, closed by now.
            with contextlib.suppress(OSError):
                if fd > 2 and os.get_inheritable(fd):
                    inherited.append(fd)
    return inherited


@contextlib.contextmanager
def sigint_blocked() -> Generator[None, None, None]:
    """Block SIGINT in this thread; a process that is started meanwhile inherits the block.

    The new process unblocks SIGINT when it has set a handler that ignores SIGINT. So a Ctrl-C
    cannot end the process before.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
