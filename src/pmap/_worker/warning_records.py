"""Warnings of a worker, shown at the caller; and the caller's filters, which hold in the worker."""

from __future__ import annotations

import _warnings
import sys
import warnings

from .._transport.values import dumps

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._transport.settings import Filter, Pattern


class Warned:
    """How warnings of this process are filtered and shown."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Send those that are to be shown by `send`, pickled."""
        self._send = send
        self._given: tuple[Filter, ...] | None = None
        self._missing: list[tuple[str, str]] = []  # categories that are not there yet
        self.has_to_do = True  # for the next chunk, also if the filters stay
        self._from_caller: list[Any] = []
        # Any: it is private, and what Python's own `catch_warnings` puts in place and back.
        private: Any = warnings
        private._showwarnmsg_impl = self._show
        self._forget_shown: Callable[[], object] = _how_to_forget()

    def _show(self, shown: warnings.WarningMessage) -> None:
        about = shown.category, shown.filename, shown.lineno
        try:
            data = dumps((shown.message, *about))
        except Exception:  # of a class that cannot be sent
            text, known = str(shown.message), _known(shown.category)
            data = dumps((known(text), known, *about[1:]))
        self.has_to_do = True
        self._send(data)

    def apply(self, filters: tuple[Filter, ...] | None) -> None:
        """Put the caller's filters in place, unless they are; for a chunk that begins."""
        came = self._missing and any(_category(*each) for each in self._missing)
        if filters is not None and (filters is not self._given or came):
            # What the initializer has added stays in front.
            known = self._from_caller if self._given is not None else _initial
            own = [each for each in warnings.filters if each not in known]
            self._missing = [each[2] for each in filters if _category(*each[2]) is None]
            found = [_filter(each) for each in filters]
            self._from_caller = [each for each in found if each is not None]
            self._given = filters
            warnings.resetwarnings()
            in_place: Any = warnings.filters  # it is a list, whatever checkers are told
            in_place.extend([*own, *self._from_caller])
        # What was shown once may be shown again: the caller knows what it has shown.
        self._forget_shown()
        self.has_to_do = bool(self._missing)


def _how_to_forget() -> Callable[[], object]:
    """Return what makes Python take what it has shown once for not shown."""
    mutated: Any = getattr(_warnings, "_filters_mutated", None)
    if mutated is not None:
        return mutated  # type: ignore[no-any-return]  # it is private
    changed: Any = getattr(_warnings, "_filters_mutated_lock_held", None)  # from Python 3.14 on
    lock: Any = getattr(warnings, "_lock", None)

    def forget() -> None:
        if changed is not None and lock is not None:
            with lock:
                changed()

    return forget


_initial: list[Any] = list(warnings.filters)


def _filter(given: Filter) -> Any:
    """Return a filter as `warnings` has it; None if this process does not know the category yet."""
    action, message, (module, name), pattern, line = given
    category = _category(module, name)
    if category is None:
        return None
    return action, _pattern(message), category, _pattern(pattern), line


def _pattern(given: Pattern) -> Any:
    if given is None or isinstance(given, str):
        return given
    import re

    return re.compile(*given)


def _category(module: str, name: str) -> type[Warning] | None:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def _known(category: type[Warning]) -> type[Warning]:
    """Return the nearest class of a warning that every process has."""
    return next(each for each in category.__mro__ if each.__module__ == "builtins")
