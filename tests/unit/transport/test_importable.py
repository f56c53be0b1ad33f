"""What is found out about modules while another thread finds out about them, too."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from pmap._transport import importable

NAME = "tests_made_here"


class Asks:
    """A finder that finds nothing; what another thread would ask meanwhile, it asks itself."""

    __module__ = "importlib.machinery"  # those that the program defines are not asked

    def __init__(self) -> None:
        self.answers: list[bool] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == NAME and not self.answers:
            self.answers.append(True)  # asked once
            self.answers.append(importable.travels_by_name(NAME))


def test_a_module_that_another_thread_examines_is_not_taken_for_importable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asks = Asks()
    module = ModuleType(NAME)
    module.__spec__ = ModuleSpec(NAME, None, origin="/nowhere/tests_made_here.py")
    monkeypatch.setattr(sys, "meta_path", [asks, *sys.meta_path])
    monkeypatch.setitem(sys.modules, NAME, module)
    assert not importable.travels_by_name(NAME)
    assert asks.answers == [True, False]
    assert importable.may_refer_by_value(NAME.encode())
