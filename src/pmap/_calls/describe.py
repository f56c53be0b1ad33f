"""Short texts for functions and values, to be used in messages."""

import functools
import reprlib
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from .._errors import is_ctrl_c
from .._transport.exceptions import without_repr


def name_of(function: object) -> str:
    """Return a short readable name of `function`; this function never raises.

    >>> name_of(len), name_of(str.upper), name_of(functools.partial(int, base=2))
    ('len', 'str.upper', 'partial(int)')
    """
    kind = type(function).__name__
    try:
        if isinstance(function, functools.partial):
            return f"partial({name_of(function.func)})"
        for attribute in ("__qualname__", "__name__"):
            name: object = getattr(function, attribute, None)
            if isinstance(name, str) and name:
                return name.rpartition("<locals>.")[2]
    except Exception:  # The object may have a `__getattr__` that raises anything.
        pass
    return kind


def short_repr(obj: object, limit: int = 80) -> str:
    """Return the repr of `obj` in one line of at most `limit` characters; this never raises.

    >>> short_repr(range(5)), short_repr("x" * 100, limit=20)
    ('range(0, 5)', "'xxxxxxx...xxxxxxxx'")
    """
    try:
        text = _ShortRepr(limit).repr(obj)
    except Exception as error:  # the repr may fail, for example that of an int with too many digits
        text = without_repr(obj, error)
    if "\n" in text:
        text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def short_number(number: int) -> str:
    """Return a number as a short rounded text, with one of the units k, M, G and T.

    >>> short_number(999), short_number(1234), short_number(56_789), short_number(1_900_000)
    ('999', '1.2k', '57k', '1.9M')
    """
    if number < 1000:
        return str(number)
    for unit in "kMGT":
        number_of_units = number / 1000
        if number_of_units < 9.95:
            return f"{number_of_units:.1f}{unit}"
        if number_of_units < 999.5:
            return f"{number_of_units:.0f}{unit}"
        number = round(number_of_units)
    return f"{number}T"


class _ShortRepr(reprlib.Repr):
    """A `reprlib.Repr` that is quick for huge objects, and gives a text even if ``repr`` fails."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = self.maxlong = limit

    def repr1(self, x: object, level: int) -> str:
        # The type itself is compared here. reprlib compares only the name of the type, and a class
        # of the user may have the same name.
        if type(x) in _BUILT_IN:
            return super().repr1(x, level)
        return self.repr_instance(x, level)

    def repr_instance(self, x: object, level: int) -> str:
        try:
            return repr(x)
        except BaseException as error:
            # The `__repr__` of a user's class may raise anything, even SystemExit.
            if is_ctrl_c(error):
                raise
            return without_repr(x, error)

    # For dicts and sets, reprlib's own methods sort all elements before they show the first ones.
    # That takes long, and the order shown would not be the order of the object.
    def repr_dict(self, x: Mapping[object, object], level: int) -> str:
        shown = (
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        )
        return self._braced("{", shown, "}", len(x) > self.maxdict, level)

    def repr_set(self, x: Collection[object], level: int) -> str:
        if not x:
            return "set()"
        shown = (self.repr1(element, level - 1) for element in islice(x, self.maxset))
        return self._braced("{", shown, "}", len(x) > self.maxset, level)

    def repr_frozenset(self, x: Collection[object], level: int) -> str:
        return f"frozenset({self.repr_set(x, level) if x else ''})"

    # For a gigabyte of bytes, reprlib would make the whole repr and only then shorten it.
    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: self.maxstring]) + ("..." if len(x) > self.maxstring else "")

    def repr_bytearray(self, x: bytearray, level: int) -> str:
        return f"bytearray({self.repr_bytes(bytes(x[: self.maxstring + 1]), level)})"

    @staticmethod
    def _braced(opening: str, shown: Iterable[str], closing: str, more: bool, level: int) -> str:
        if level <= 0:
            return f"{opening}...{closing}"
        parts = [*shown, "..."] if more else list(shown)
        return opening + ", ".join(parts) + closing


_BUILT_IN = frozenset({str, int, list, tuple, dict, set, frozenset, bytes, bytearray})
