"""A note for a TypeError: the arguments of a call do not fit the user's function."""

from .._calls.call import Kind
from .item_errors import add_note
from .work import Work

# Words in Python's messages for arguments that do not fit a function. The second is of Python 3.15
# and later, for ``*row``.
_SIGNS = ("argument", "Value after *")


def note_wrong_arguments(error: TypeError, work: Work, item: object) -> None:
    """Add a note to `error` if the arguments would fit another verb of pmap.

    An example is a row for `pstarmap` that was passed to `pmap`.

    Args:
        error: what the call of the function raised before any line of the function ran.
        work: the call that the item belongs to.
        item: the item whose arguments do not fit.
    """
    call = work.call
    owner, dot, verb = call.verb.rpartition(".")
    if owner == "Executor" or not any(sign in str(error) for sign in _SIGNS):
        return
    f, name = work.function_name, owner + dot
    if call.kind is Kind.STAR and not isinstance(item, tuple):
        plain = verb.replace("starmap", "map")
        add_note(
            error,
            f"pmap: {call.verb} takes rows, and makes the call {f}(*row) of each; this item is no "
            f"row. If each item is one argument, write {name}{plain}({f}, xs)",
        )
    elif call.kind is Kind.EACH and isinstance(item, tuple):
        star = verb.replace("map", "starmap")
        add_note(
            error,
            f"pmap: this item, a tuple, is one argument of {f}. If it is a row of arguments, write "
            f"{name}{star}({f}, rows)",
        )
