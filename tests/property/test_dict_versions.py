"""The versions of dicts: dicts of equal versions have equal contents."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._transport.by_value.dict_versions import version_of

needs_versions = pytest.mark.skipif(
    version_of({}) is None, reason="this interpreter keeps no versions of dicts"
)


KEYS: Final = st.integers(0, 4) | st.sampled_from("ab")
VALUES: Final = st.integers(0, 2) | st.booleans() | st.just(1.0)
CHANGES: Final[dict[str, Callable[[dict[object, object], object, object], object]]] = {
    "set": lambda given, key, value: given.__setitem__(key, value),
    "pop": lambda given, key, _: given.pop(key, None),
    "pop the last": lambda given, key, value: given.popitem() if given else None,
    "default": lambda given, key, value: given.setdefault(key, value),
    "update": lambda given, key, value: given.update({key: value, "c": value}),
    "or": lambda given, key, value: given.__ior__({key: value}),
    "pairs": lambda given, key, value: given.update([(key, value)]),
    "clear": lambda given, key, value: given.clear(),
    "read": lambda given, key, _: (given.get(key), [*given], given.copy()),
}


@needs_versions
@given(
    st.dictionaries(KEYS, VALUES),
    st.lists(st.tuples(st.sampled_from([*CHANGES]), KEYS, VALUES), max_size=8),
)
def test_equal_versions_mean_equal_contents(
    content: dict[object, object], steps: list[tuple[str, object, object]]
) -> None:
    seen: dict[int | None, list[tuple[object, int, object, int]]] = {}
    for change, key, value in [("read", 0, 0), *steps]:
        CHANGES[change](content, key, value)
        items = [(key, id(key), value, id(value)) for key, value in content.items()]
        assert seen.setdefault(version_of(content), items) == items
