"""Items that print in several ways. Scripts and workers import this, so it imports little."""

import contextlib
import io
import os
import sys
import threading


def in_a_thread(x: int) -> int:
    thread = threading.Thread(target=print, args=("thread", x))
    thread.start()
    thread.join()
    return x


def in_a_fork(x: int) -> int:
    print("before", x)
    pid = os.fork()
    if pid == 0:
        print("fork", x)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)
    return x


def as_bytes(x: int) -> int:
    sys.stdout.buffer.write(b"bytes %d \xff\n" % x)
    return x


def of_their_own(x: int) -> int:
    with contextlib.redirect_stdout(io.StringIO()) as own:
        print("mine", x)
    print(own.getvalue(), end="")
    return x
