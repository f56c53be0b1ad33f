"""A note for errors like NameError: the name that is missing in the worker exists at the caller."""

import re
import sys
from typing import TYPE_CHECKING, Final

from .._calls.traceback_text import format_traceback
from .._transport.by_value.namespaces import namespace_of
from .._transport.exceptions import describe
from .item_errors import add_note

if TYPE_CHECKING:
    from .._transport.by_value.names import Needs
    from .._transport.by_value.sent_names import Known

_UNDEFINED: Final = re.compile(r"name '(\w+)' is not defined|variable '(\w+)' is not defined")
# The second is what pickle says of a class of the script, in a file that an item loads.
_NO_ATTRIBUTE: Final = re.compile(
    r"module '[\w.]+' has no attribute '(\w+)'|Can't get attribute '(\w+)[\w.]*' on <module"
)
_NOT_IMPORTED: Final = re.compile(r"cannot import name '(\w+)' from '")


def note_missing_name(error: Exception, function: str, needs: "Needs") -> None:
    """Add a note to `error` if the worker lacked a name that the caller has.

    Args:
        error: the exception that the item raised.
        function: the name of the function.
        needs: the global names, with their values, that were sent to the workers.
    """
    name = _missing(error)
    if name is None:
        return
    spaces = {space for space, _ in needs.names}
    main = namespace_of(vars(sys.modules["__main__"]))
    for space in spaces or ({main} if main is not None else ()):
        if name in space.dict:
            known = needs.names.get((space, name))
            add_note(error, _text(name, space.name, function, known))
            return


def _missing(error: Exception) -> str | None:
    found: re.Match[str] | None = None
    if isinstance(error, NameError):
        found = _UNDEFINED.search(str(error))
    elif isinstance(error, AttributeError):
        found = _NO_ATTRIBUTE.search(str(error))
    elif isinstance(error, ImportError):
        found = _NOT_IMPORTED.search(str(error))
    elif isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        trace = str(error.__cause__) if error.__traceback__ is None else format_traceback(error)
        return error.args[0] if "globals()" in trace or "vars(" in trace else None
    return next(filter(None, found.groups()), None) if found else None


def _text(name: str, module: str, function: str, known: "Known | None") -> str:
    has = f"pmap: the caller has {name!r} in {module}, but "
    if known is not None and known.unsent is not None:
        return has + (
            f"it cannot be sent: {describe(known.unsent)}. Make it in the function, or once in "
            "each worker: in an initializer"
        )
    return has + (
        f"it was not sent: a worker gets the globals that the code of {function} names, and those "
        f"that these use. Name it there (a line that says {name} will do), or give it as an "
        "argument"
    )
