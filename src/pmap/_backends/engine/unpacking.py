"""Runs a task on a node that need not have pmap: unpacks what was shipped, then runs with that.

A node is where an engine runs a task. The text of this module travels with each task of a call with
the option ``ship``, and the node executes it. So this module imports nothing of pmap at its top,
and says nothing of its own package.
"""

import os
import pickle
import socket
import stat
import sys
import tempfile
from importlib import import_module

# A pickle of this expression needs no module of pmap where it is loaded. `text` and `given` are the
# first two attributes of an `Unpacking`.
_EXPRESSION = (
    "(exec(text, space := {'__name__': 'pmap_unpacking'}), space['Unpacking'](text, given))[1]"
)


class Unpacking:
    """Runs tasks; it is pickled with the text of its class, so that each node can load it."""

    __name__ = "pmap"  # some engines show this as the name of a task

    def __init__(self, text: str, given: tuple[str, str, str, tuple[int, int], int, int]) -> None:
        """Keep what a node needs to run the tasks of a call.

        Args:
            text: the text of this module.
            given: the text that identifies the archive of packages; module and name of the function
                that runs a task; the caller's version of Python; and the kinds of two answers, one
                for a node without the archive, one for a node on which no worker could be started.
        """
        self.text = text
        self.given = given

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (_EXPRESSION, {"text": self.text, "given": self.given})

    def __call__(
        self, task: bytes, spec: bytes | None = None, archive: bytes | None = None
    ) -> bytes:
        """Run a task, and return its answer; `archive` is None if the node may have unpacked it."""
        key, module, name, python, missing, unstarted = self.given
        if sys.version_info[:2] != python:
            theirs, ours = (".".join(map(str, one)) for one in (python, sys.version_info[:2]))
            return _answer(
                unstarted,
                f"the caller has Python {theirs}, and this worker has Python {ours}: install the "
                "same version on both",
            )
        try:
            folder = unpacked(key, archive)
            if folder is None:
                return _answer(missing, "")
            # Two threads may add the folder twice, which does no harm.
            if folder not in sys.path:
                sys.path.insert(0, folder)
            run = getattr(import_module(module), name)
        except Exception as error:  # the folder cannot be written, or another package is in the way
            return _answer(unstarted, f"what was shipped cannot be used: {error!r}")
        answer: bytes = run(task, spec, folder)
        return answer


def _answer(kind: int, reason: str) -> bytes:
    """Return an answer as bytes: the first fields of an `Answer` of the module `wire`."""
    return pickle.dumps((kind, socket.gethostname(), 0.0, None, reason), 5)


def unpacked(key: str, archive: bytes | None) -> str | None:
    """Return the folder with the content of an archive, unpacked now if it was not yet.

    Return None if it has not been unpacked on this node and `archive` is None.
    """
    folder = os.path.join(tempfile.gettempdir(), f"pmap-{key}")
    if _is_ours(folder):
        return folder
    if archive is None:
        return None
    import io
    import shutil
    import zipfile

    new = tempfile.mkdtemp(prefix="pmap-new-")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            opened.extractall(new)
        try:
            # The folder gets its name only when it is complete, so no process sees half of it.
            os.rename(new, folder)
        except OSError:
            # Another process of this node has been faster, or the name belongs to somebody else.
            if not _is_ours(folder):
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _is_ours(folder: str) -> bool:
    """Return whether a folder exists, this user has made it, and nobody else can write into it.

    All users of a POSIX machine share the folder for temporary files, so somebody else might have
    put code there under this name. On Windows each user has such a folder of their own, and the
    mode of a folder does not say who can write into it.
    """
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    if hasattr(os, "getuid") and (
        found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        return False
    return stat.S_ISDIR(found.st_mode)
