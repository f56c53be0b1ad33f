"""Levels of loggers, when two threads read them at the same time; and the locale, read quickly."""

import locale
import logging
import os
from collections.abc import Iterator

import pytest

from pmap._jobs import directory
from pmap._transport import settings
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


@pytest.fixture
def _locale_as_before() -> Iterator[None]:
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.skipif(os.name != "posix", reason="`locale.setlocale` is called on Windows")
@pytest.mark.usefixtures("_locale_as_before")
@pytest.mark.parametrize("by_c_library", [False, True])
def test_each_change_of_locale_is_seen(by_c_library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_read_locale", None)
    monkeypatch.setattr(settings, "_last_locale", (None, None))
    monkeypatch.setattr(directory, "_read", None)
    if by_c_library:
        directory._prepare()
        if settings._read_locale is None:
            pytest.skip("this interpreter has no lock, or no ctypes")
    for name in ("C", "C.UTF-8", "POSIX", "C.UTF-8"):
        for category in (locale.LC_TIME, locale.LC_ALL):
            locale.setlocale(category, name)
            assert take_settings()[3] == locale.setlocale(locale.LC_ALL)
            assert take_settings()[3] == locale.setlocale(locale.LC_ALL)
