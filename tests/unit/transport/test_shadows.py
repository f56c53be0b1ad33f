"""Which folders of the import path can hide a module of the standard library."""

import os
from pathlib import Path

import pytest

from pmap._transport import shadows


def test_the_folder_of_extension_modules_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows it is in front of the other modules of the standard library."""
    mine, extensions, standard = (str(tmp_path / name) for name in ("mine", "DLLs", "Lib"))
    for folder, name in ((mine, "secrets.py"), (extensions, "select.py"), (standard, "os.py")):
        os.mkdir(folder)
        Path(folder, name).touch()
    monkeypatch.setattr(shadows, "STANDARD", standard)
    monkeypatch.setattr(shadows, "_EXTENSIONS", extensions)
    assert [name for name, _ in shadows.find_shadows([mine, extensions, standard])] == ["secrets"]
    assert [name for name, _ in shadows.find_shadows([mine, standard])] == ["secrets"]
    assert shadows.find_shadows([mine, extensions]) == []
