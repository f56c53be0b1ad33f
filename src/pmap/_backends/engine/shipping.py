"""Packs the packages of the option ``ship`` into an archive, for nodes that do not have them.

A node is where an engine runs a task. pmap itself, and the package that it needs, are always among
the packages.
"""

import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ..._calls.ship_check import places_of
from ..._errors import OptionError
from . import unpacking, wire

# pmap, and cloudpickle: only the same version of cloudpickle can surely load what the caller's
# cloudpickle has pickled.
_ALWAYS: Final = (__name__.partition(".")[0], "cloudpickle")
# The time that each file gets in an archive, so that archives of equal files are equal.
_TIME: Final = (1980, 1, 1, 0, 0, 0)


class Shipment(NamedTuple):
    """An archive of packages, and a text that identifies its content."""

    key: str
    archive: bytes


def packed_packages(names: Sequence[str]) -> Shipment:
    """Return an archive with the files of packages, of pmap, and of what pmap needs.

    Raises:
        OptionError: the files of a package are not there.
    """
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted({*_ALWAYS, *names}):
            places = places_of(name)
            if not places:
                raise OptionError("ship", name, f"the files of {name} are in no folder here")
            for path, inside in sorted(_files(name, places)):
                archive.writestr(
                    zipfile.ZipInfo(inside, _TIME), path.read_bytes(), zipfile.ZIP_DEFLATED
                )
    content = data.getvalue()
    return Shipment(hashlib.sha256(content).hexdigest()[:32], content)


def _files(name: str, places: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield each file of a package, and its path in the archive."""
    for place in places:
        if os.path.isfile(place):
            yield Path(place), os.path.basename(place)
        for folder, _, files in os.walk(place):
            inside = Path(name, os.path.relpath(folder, place))
            if "__pycache__" not in inside.parts:
                yield from ((Path(folder, file), (inside / file).as_posix()) for file in files)


class Shipped:
    """The function of each task of a call with ``ship``; a node can load it without pmap."""

    __name__ = "pmap"  # some engines show this as the name of a task

    def __init__(self, run: Callable[..., bytes], key: str) -> None:
        """Keep the function that runs a task, and what identifies the archive."""
        self._run = run
        text = Path(unpacking.__file__).read_text(encoding="utf-8")
        python = sys.version_info[:2]
        given = key, run.__module__, run.__name__, python, wire.MISSING, wire.UNSTARTED
        self._there = unpacking.Unpacking(text, given)

    def __reduce__(self) -> tuple[object, ...]:
        return self._there.__reduce__()

    def __call__(self, task: bytes, spec: bytes | None = None, archive: object = None) -> bytes:
        """Run a task in the process of the caller, where nothing has to be unpacked."""
        return self._run(task, spec)
