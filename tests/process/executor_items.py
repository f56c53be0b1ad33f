"""Executors, and what their items do; workers import this, so it imports little."""

import os
from pathlib import Path

import pytest
from tests.backends import BACKENDS, START_METHODS, Settings
from tests.files import mark, wait_for_file

from pmap import Executor

each_backend = pytest.mark.parametrize("settings", BACKENDS, ids=lambda one: one.name)
each_method = pytest.mark.parametrize("method", START_METHODS)


def executor_of(settings: Settings, workers: int = 2) -> Executor:
    return Executor(workers, backend=settings.backend, start_method=settings.start_method)


def double(x: int) -> int:
    return 2 * x


def reciprocal(x: int) -> float:
    return 1 / x


def held(folder: str, name: str) -> str:
    """Note that it has begun, and return when the file `name` is there."""
    mark(folder, name)
    wait_for_file(os.path.join(folder, name))
    return name


def release(folder: Path, *names: object) -> None:
    for name in names:
        (folder / str(name)).touch()
