"""Watches the named states of objects while tests run; the product checks none of them."""

from collections.abc import Mapping


class WatchedState:
    """Stands in a class for the attribute `state` of its objects, and keeps each change.

    The values stay where they are, so that objects outlive the watch.
    """

    def __init__(self) -> None:
        self.changes: list[tuple[int | None, int]] = []

    def __get__(self, owner: object, kind: type | None = None) -> int:
        state: int = vars(owner)["state"]
        return state

    def __set__(self, owner: object, state: int) -> None:
        self.changes.append((vars(owner).get("state"), state))
        vars(owner)["state"] = state

    def unknown(self, first: int, table: Mapping[int, Mapping[int, str]]) -> set[tuple[int, int]]:
        """Return the changes that a table of transitions does not have."""
        changes = {(first if before is None else before, after) for before, after in self.changes}
        return changes - {(first, first)} - {(one, to) for one in table for to in table[one]}

    def seen(self) -> set[tuple[int, int]]:
        """Return the changes from one state to another."""
        return {(before, after) for before, after in self.changes if before is not None}
