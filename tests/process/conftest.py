"""What each test with processes gets besides: connections that change as their table says."""

from collections.abc import Iterator

import pytest
from tests.states import WatchedState

from pmap._backends import connection_states
from pmap._backends.connection import Connection


@pytest.fixture(autouse=True)
def connection_changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedState]:
    """Watch the connections of this process; fail at a change that their table does not have."""
    watched = WatchedState()
    monkeypatch.setattr(Connection, "state", watched, raising=False)
    yield watched
    unknown = watched.unknown(connection_states.STARTING, connection_states.TRANSITIONS)
    names = connection_states.NAMES
    assert not unknown, [f"{names[before]} -> {names[after]}" for before, after in unknown]
