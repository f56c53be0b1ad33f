"""Watching an attribute that holds a named state: which transitions there are, and no others.

The product assigns plain numbers, and nothing checks them there. Here the class is given a
descriptor that compares each assignment with the table of transitions.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class States(Protocol):
    """What a module of states has."""

    @property
    def NAMES(self) -> tuple[str, ...]:  # noqa: N802
        """The names of the states, by their numbers."""
        ...

    @property
    def STARTS(self) -> Mapping[int, str]:  # noqa: N802
        """The states that an object may begin in, each with the reason."""
        ...

    @property
    def TRANSITIONS(self) -> Mapping[int, Mapping[int, str]]:  # noqa: N802
        """The states that may follow on each state, each with the reason."""
        ...


def transitions_of(states: States) -> set[tuple[int, int]]:
    """Return the transitions that a table has."""
    return {(before, to) for before, after in states.TRANSITIONS.items() for to in after}


def check_transition(states: States, before: int | None, after: int) -> None:
    """Check that an object may go over from one state to another; None: it has none yet."""
    if before is None:
        assert after in states.STARTS, f"begins as {states.NAMES[after]}"
    else:
        names = states.NAMES
        assert after in states.TRANSITIONS[before], f"{names[before]} to {names[after]}"


class Watch:
    """Takes the place of an attribute of a class: a slot, or one that is in each object's dict.

    Attributes:
        seen: the transitions that there were.
        wrong: those of them that the table does not have, in words.
    """

    def __init__(
        self,
        owner: type,
        attribute: str,
        states: States,
        check: Callable[[States, int | None, int], None] = check_transition,
    ) -> None:
        """Begin to watch `attribute` of `owner` and of its subclasses."""
        self._check = check
        self._owner = owner
        self._attribute = attribute
        self._slot: Any = vars(owner).get(attribute)
        self._states = states
        self.seen: set[tuple[int, int]] = set()
        self.wrong: list[str] = []
        setattr(owner, attribute, self)

    def end(self) -> None:
        """Watch no more."""
        if self._slot is None:
            delattr(self._owner, self._attribute)
        else:
            setattr(self._owner, self._attribute, self._slot)

    def _state_of(self, instance: object) -> int | None:
        """Return the state of an object, or None if it has none yet."""
        if self._slot is None:
            return vars(instance).get(self._attribute)
        try:
            return int(self._slot.__get__(instance))
        except AttributeError:
            return None

    def __get__(self, instance: object, owner: type | None = None) -> object:
        """Return the state."""
        if instance is None:
            return self
        state = self._state_of(instance)
        if state is None:
            raise AttributeError(self._attribute)
        return state

    def __set__(self, instance: object, state: int) -> None:
        """Let an object go over to another state, if the table has that."""
        before = self._state_of(instance)
        if before != state:
            if before is not None:
                self.seen.add((before, state))
            try:
                self._check(self._states, before, state)
            except AssertionError as error:
                self.wrong.append(str(error))  # what runs may swallow it
                raise
        if self._slot is None:
            vars(instance)[self._attribute] = state
        else:
            self._slot.__set__(instance, state)
