"""The traceback that an exception had in its worker, rebuilt in the caller's process.

A traceback consists of entries, each with a frame. A frame cannot be sent to another process. But
all that Python shows of an entry is file, line, columns, and the name of the function. So for each
place (file and line) in the worker's traceback this module makes a code object whose code claims to
be at that place, and a frame of this code. The frame never runs and has no variables.
"""

import re
import sys
from collections.abc import Iterator
from types import CodeType, FrameType, FunctionType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Final

from .._transport.exceptions import members_of
from .._transport.values import loads

if TYPE_CHECKING:
    from .._transport.trace import Linked, Place, Trace

# The places of workers' tracebacks that were seen before. For each place: the frame made for it,
# and the offset of an instruction in that frame. A program raises its exceptions in few places; if
# there are too many, the dict is emptied.
_frames: "dict[Place, tuple[FrameType, int]]" = {}
_MOST_FRAMES = 2000


class UnsentError(Exception):
    """Stands for an exception that cannot be pickled, as the cause or context of another."""


def give_trace(error: BaseException, trace: "Trace") -> None:
    """Give `error` the traceback, and the cause or context, that it had in its worker."""
    places, linked, is_cause, members = trace
    # `BaseException.__setattr__` is called directly, because the class of the exception may have a
    # `__setattr__` that raises, like that of a frozen dataclass.
    give = BaseException.__setattr__
    give(error, "__traceback__", traceback_of(places))
    if linked is not None:
        # Setting `__cause__` also hides the context, so the context is set only if there is no
        # cause.
        give(error, "__cause__" if is_cause else "__context__", _loaded(linked))
    for member, its_trace in zip(members_of(error), members, strict=False):
        give_trace(member, its_trace)


def _loaded(linked: "Linked") -> BaseException:
    data, description, trace = linked
    error: BaseException | None = None
    if data is not None:
        try:
            loaded = loads(data)
            error = loaded if isinstance(loaded, BaseException) else None
        except Exception:
            # Unpickling an exception runs code of its class, which may raise anything.
            pass
    if error is None:
        error = UnsentError(description)
    give_trace(error, trace)
    return error


def traceback_of_stack(text: str) -> TracebackType | None:
    """Return a traceback that shows a stack, given as text; None if the text is empty."""
    found = re.finditer(r'^  File "(.*)", line (\d+) in (.*)$', text, re.MULTILINE)
    places: list[Place] = []
    for file, line, name in (match.groups() for match in found):
        places.append((file, name, name, "", int(line), int(line), None, None, None, ""))
    return traceback_of(tuple(places))


def traceback_of(places: "tuple[Place, ...]") -> TracebackType | None:
    """Return a traceback with an entry for each place (file, line, function), if any."""
    made: TracebackType | None = None
    for place in reversed(places):
        found = _frames.get(place)
        if found is None:
            if len(_frames) >= _MOST_FRAMES:
                _frames.clear()
            found = _frames[place] = _frame(place)
        frame, instruction = found
        made = TracebackType(made, frame, instruction, place[5])
    return made


def _frame(place: "Place") -> tuple[FrameType, int]:
    """Return a frame that claims to be at a place, and the offset of an instruction in it."""
    file, name, _, module, _, line, _, _, _, source = place
    if source:
        _remember(file, line, source)
    # If no file has the source (as with a zip file), `linecache` gets it from the loader of the
    # module, which it finds in these globals. Python 3.15 warns of a loader without a spec.
    names: dict[str, object] = {"__name__": module, "__file__": file}
    for attribute in ("__loader__", "__spec__"):
        value: object = getattr(sys.modules.get(module), attribute, None)
        if value is not None:
            names[attribute] = value
    # The frame is that of a generator that has not begun. A frame that runs would refer to the
    # frames of its callers, and keep their variables alive.
    code, instruction = _code(place)
    generator: object = FunctionType(code, names, name)()
    assert isinstance(generator, GeneratorType)
    frame = generator.gi_frame
    assert frame is not None
    return frame, instruction


def _template() -> Iterator[None]:
    yield


_CODE: Final = _template.__code__


def _code(place: "Place") -> tuple[CodeType, int]:
    """Return a code object whose instructions all claim to be at one place, and an offset in it.

    The offset is -1 if the columns of the place are not known. A code object shows columns only for
    an instruction, and the offset says which.
    """
    file, name, qualified_name, _, first_line, line, last_line, column, last_column, _ = place
    code = _CODE.replace(
        co_filename=file, co_name=name, co_qualname=qualified_name, co_firstlineno=line
    )
    if last_line is None or column is None or last_column is None:
        return code, -1
    instructions = len(_CODE.co_code) // 2
    table = _locations(instructions, line - first_line, last_line - line, column, last_column)
    exact = code.replace(co_firstlineno=first_line, co_linetable=table)
    if {*exact.co_positions()} != {(line, last_line, column, last_column)}:
        # This version of Python stores locations in another format, so no columns are shown.
        return code, -1
    return exact, 0


def _locations(instructions: int, down: int, lines: int, column: int, last_column: int) -> bytes:
    """Return the table of locations (``co_linetable``) of code whose instructions share a location.

    The format of the table is described in ``Objects/locations.md`` of CPython.

    Args:
        instructions: how many instructions the code has.
        down: by how many lines the location is below the first line of the function.
        lines: how many lines the location covers besides its first line.
        column: the first column of the location.
        last_column: the last column of the location.
    """
    table: list[int] = []
    while instructions > 0:
        # One entry of the table of locations covers at most 8 instructions.
        units = min(instructions, 8)
        instructions -= units
        signed = -down << 1 | 1 if down < 0 else down << 1
        table += [0x80 | 14 << 3 | units - 1, *_varint(signed), *_varint(lines)]
        table += [*_varint(column + 1), *_varint(last_column + 1)]
        down = 0  # the lines of an entry are counted from those of the entry before it
    return bytes(table)


def _varint(number: int) -> list[int]:
    """Return a number as groups of six bits, the lowest bits first.

    In each group but the last, bit 6 says that more groups follow.

    >>> _varint(5), _varint(64)
    ([5], [64, 1])
    """
    groups: list[int] = []
    while number >= 64:
        groups.append(0x40 | number & 63)
        number >>= 6
    return [*groups, number]


def _remember(file: str, line: int, source: str) -> None:
    """Let tracebacks show lines of a file that only the worker has, by the cache of `linecache`.

    If `linecache` can read the file itself, nothing is done.
    """
    import linecache

    # `linecache` may not be the standard module: a program may have one of that name.
    if not hasattr(linecache, "getlines") or linecache.getlines(file):
        return
    lines = ["\n"] * (line - 1) + source.splitlines(keepends=True)
    linecache.cache[file] = (len(source), None, lines, file)
