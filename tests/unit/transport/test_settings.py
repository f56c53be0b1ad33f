"""The levels of loggers, when two threads read them at the same time."""

import logging
from collections.abc import Iterator

import pytest

from pmap._transport.settings import take_settings

NAME = "tests.settings"


def level_now() -> int:
    """Return the level of the test's logger as a worker would get it."""
    levels = take_settings()[5]
    assert levels is not None
    return dict(levels[1]).get(NAME, 0)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    yield logger
    logger.setLevel(logging.NOTSET)


def test_a_change_is_seen_while_another_thread_reads(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_meanwhile: list[int] = []

    class Between:
        """Is asked for its level in the middle of a reading; then another reading takes place."""

        @property
        def level(self) -> int:
            if not seen_meanwhile:
                seen_meanwhile.append(0)
                seen_meanwhile.append(level_now())
            return 0

    logger.setLevel(logging.DEBUG)
    assert level_now() == logging.DEBUG
    logger.setLevel(logging.ERROR)
    monkeypatch.setitem(logging.root.manager.loggerDict, "tests.between", Between())
    assert level_now() == logging.ERROR
    assert seen_meanwhile == [0, logging.ERROR]


def test_a_change_in_the_middle_of_a_reading_is_not_missed_afterwards(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changes:
        """Is asked for its level in the middle of a reading; then the other level changes."""

        @property
        def level(self) -> int:
            logger.setLevel(logging.ERROR)
            return 0

    logger.setLevel(logging.DEBUG)
    monkeypatch.setitem(logging.root.manager.loggerDict, "tests.changes", Changes())
    level_now()  # old or new: they are read at the moment of the change
    monkeypatch.delitem(logging.root.manager.loggerDict, "tests.changes")
    assert level_now() == logging.ERROR
