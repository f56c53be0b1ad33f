"""What the doctor reads of groups and limits; and that nothing missing stops it."""

import locale
import os
import platform
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from pmap._doctor import machine
from pmap._doctor.facts import Limit, Room


def groups(folder: Path, membership: str, files: dict[str, str]) -> tuple[str, str]:
    """Write a tree of groups; return where the membership stands, and the root of the tree."""
    (folder / "self").write_text(membership, encoding="ascii")
    for name, text in files.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return str(folder / "self"), str(folder / "root")


def test_the_tightest_memory_of_nested_groups(tmp_path: Path) -> None:
    files = {
        "memory.max": "max\n",
        "a/memory.max": "4096\n",
        "a/memory.current": "96\n",
        "a/b/memory.max": "8192\n",
        "a/b/memory.current": "8000\n",
        "other/memory.max": "1\n",
    }
    where = groups(tmp_path, "0::/a/b\n", files)
    assert machine.group_memory(*where) == Room(4096, 192)


def test_memory_of_version_1(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/a/memory.limit_in_bytes": "1000\n",
        "memory/a/memory.usage_in_bytes": "1200\n",
    }
    where = groups(tmp_path, "5:memory:/a\n4:cpu,cpuacct:/c\n", files)
    assert machine.group_memory(*where) == Room(1000, 0)


def test_tasks_of_the_group_that_has_least_room(tmp_path: Path) -> None:
    files = {
        "pids.max": "max\n",
        "a/pids.max": "500\n",
        "a/pids.current": "490\n",
        "a/b/pids.max": "100\n",
        "a/b/pids.current": "5\n",
    }
    where = groups(tmp_path, "0::/a/b\n", files)
    assert machine.group_tasks(*where) == Limit(500, None, 490)


@pytest.mark.parametrize("membership", ["", "nonsense", "0::/a\n", "0::/../..\n"])
def test_groups_that_say_nothing(membership: str, tmp_path: Path) -> None:
    where = groups(tmp_path, membership, {"a/memory.max": "many\n", "a/pids.max": ""})
    assert machine.group_memory(*where) == Room(None, None)
    assert machine.group_tasks(*where) == Limit()
    assert machine.group_memory(str(tmp_path / "no"), str(tmp_path / "no")) == Room(None, None)


def test_a_limit_that_a_system_has_not() -> None:
    assert machine.limit("RLIMIT_OF_NOTHING") == Limit()


def test_a_limit_whose_use_is_unknown() -> None:
    def unknown() -> int:
        raise OSError

    with_use = machine.limit("RLIMIT_NOFILE", lambda: 7)
    assert with_use.used == 7
    assert machine.limit("RLIMIT_NOFILE", unknown) == Limit(with_use.soft, with_use.hard, None)


def test_this_machine() -> None:
    facts = machine.examine()
    assert facts.executable
    assert (Path(facts.place) / "__init__.py").exists()
    assert facts.methods == facts.backends == ()
    assert dict(facts.packages)["cloudpickle"]
    assert 1 <= facts.cpus <= (os.cpu_count() or 1)


def test_nothing_that_is_refused_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function that asks the system raises; the facts are those that need none."""

    def refused(*args: object, **kwargs: object) -> object:
        raise RuntimeError("refused")

    asks = [
        *("affinity", "memory", "group_memory", "group_tasks", "shared_memory", "has_memfd"),
        *("tasks", "blas", "has_gil", "container", "text", "cpu_count", "group_quota", "_limit"),
    ]
    for name in asks:
        monkeypatch.setattr(machine, name, refused)
    monkeypatch.setattr(tempfile, "gettempdir", refused)
    monkeypatch.setattr(metadata, "version", refused)
    monkeypatch.setattr(platform, "platform", refused)
    monkeypatch.setattr(locale, "getpreferredencoding", refused)
    facts = machine.examine()
    assert (facts.cpus, facts.packages, facts.temp, facts.memfd) == (1, (), None, False)
    assert (facts.memory, facts.open_files) == (Room(), Limit())
