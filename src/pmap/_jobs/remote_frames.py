"""The traceback of an exception that a worker raised, made again at the caller.

A traceback consists of entries, each with a frame. No frame can travel. But all that Python shows
of an entry is file, line, columns, and the name of the function. So for each place in the worker
this module compiles a function at that place, and makes a frame of it, which never runs. It has no
variables.
"""

import re
import sys
from types import CodeType, FrameType, FunctionType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from .._transport.values import loads

if TYPE_CHECKING:
    import ast

    from .._transport.trace import Linked, Place, Trace

# A frame and the offset of an instruction for each place. A program raises its exceptions in few
# places. When there are too many, the dict begins anew.
_frames: "dict[Place, tuple[FrameType, int]]" = {}
_MOST_FRAMES = 2000
_ONLY_AST: Final = 0x400  # the flag PyCF_ONLY_AST of `compile`


class UnsentError(Exception):
    """Stands for an exception that cannot be pickled, and that led to the one that was raised."""


def give_trace(error: BaseException, trace: "Trace") -> None:
    """Give `error` the traceback that it had in its worker, and its cause or context there."""
    places, linked, is_cause, members = trace
    # BaseException's own __setattr__: that of the exception's class may refuse, as that of a frozen
    # dataclass does.
    give = BaseException.__setattr__
    give(error, "__traceback__", traceback_of(places))
    if linked is not None:
        # To set `__cause__` also hides the context.
        give(error, "__cause__" if is_cause else "__context__", _loaded(linked))
    if isinstance(error, BaseExceptionGroup):
        within: tuple[BaseException, ...] = error.exceptions
        for member, its_trace in zip(within, members, strict=False):
            give_trace(member, its_trace)


def _loaded(linked: "Linked") -> BaseException:
    data, description, trace = linked
    error: BaseException | None = None
    if data is not None:
        try:
            loaded = loads(data)
            error = loaded if isinstance(loaded, BaseException) else None
        except Exception:  # loading runs code of the exception's class, which may fail
            pass
    if error is None:
        error = UnsentError(description)
    give_trace(error, trace)
    return error


def traceback_of_stack(text: str) -> TracebackType | None:
    """Return a traceback of a stack that `readable_stack` has made; None if there is no stack."""
    found = re.finditer(r'^  File "(.*)", line (\d+) in (.*)$', text, re.MULTILINE)
    places: list[Place] = []
    for file, line, name in (match.groups() for match in found):
        places.append((file, name, name, "", int(line), int(line), None, None, None, ""))
    return traceback_of(tuple(places))


def traceback_of(places: "tuple[Place, ...]") -> TracebackType | None:
    """Return a traceback with an entry for each place; None if there is no place."""
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
    """Return a frame at a place, and the offset of the instruction there; -1: there is none."""
    file, name, _, module, _, line, _, _, _, source = place
    if source:
        _remember(file, line, source)
    code = _code(place)
    # `linecache` asks the loader of a module for its source if there is no file, as in a zip file.
    names = {
        "__name__": module,
        "__file__": file,
        "__loader__": getattr(sys.modules.get(module), "__loader__", None),
    }
    # The frame of a generator that has not begun refers to no other frame. If a function ran here,
    # its frame would keep alive the variables of all functions that called this one.
    generator: object = FunctionType(code, names, name)()
    assert isinstance(generator, GeneratorType)
    frame = generator.gi_frame
    assert frame is not None
    wanted = place[5:9]
    for number, (first, last, column, last_column) in enumerate(code.co_positions()):
        if (first, last, column, last_column) == wanted:
            return frame, 2 * number
    return frame, -1


def _code(place: "Place") -> CodeType:
    """Return the code of a generator that has an instruction at a place."""
    file, name, qualified_name, _, first_line, line, last_line, column, last_column, _ = place
    # Not by `ast.parse`: the user may have a module of the name `ast`.
    tree: Any = compile("def f(): yield", file, "exec", _ONLY_AST)
    function = tree.body[0]
    statement = function.body[0]
    nodes: tuple[ast.stmt | ast.expr, ...] = (function, statement, statement.value)
    for node in nodes:
        node.lineno, node.end_lineno = line, last_line or line
        node.col_offset, node.end_col_offset = column or 0, last_column or 0
    # The positions of instructions are stored relative to the first line.
    function.lineno = min(first_line, line)
    (code,) = [
        constant
        for constant in compile(tree, file, "exec").co_consts
        if isinstance(constant, CodeType)
    ]
    return code.replace(co_name=name, co_qualname=qualified_name)


def _remember(file: str, line: int, source: str) -> None:
    """Let `linecache` know lines of a file that only the worker has, unless it knows the file."""
    import linecache

    if linecache.getlines(file):
        return
    lines = ["\n"] * (line - 1) + source.splitlines(keepends=True)
    linecache.cache[file] = (len(source), None, lines, file)
