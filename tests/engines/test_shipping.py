"""Packages that travel to a node which has neither them nor pmap: the option ``ship``."""

import importlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import types
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from tests.engines.bare_node import BareNode, bare_environment
from tests.items import square

import pmap as package
from pmap import Executor, Failure, OptionError, WorkerStartError, pmap
from pmap._api.node import run
from pmap._backends.engine import unpacking, wire
from pmap._backends.engine.shipping import Shipped, packed_packages

NAME = "shipped_sample"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with nothing else."""
    made = bare_environment(tmp_path_factory.mktemp("bare") / "env")
    found = subprocess.run([made, "-c", "import pmap"], stderr=subprocess.DEVNULL, check=False)
    assert found.returncode == 1, "the environment must not have pmap"
    return made


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package that only this process can import, with a relative import and a file of data."""
    folder = tmp_path / "sources" / NAME
    (folder / "sub").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "data.txt").write_text("seven")
    (folder / "sub" / "__init__.py").write_text("from ..numbers import Number\n")
    (folder / "numbers.py").write_text("class Number(int):\n    pass\n")
    (folder / "work.py").write_text(
        "from pathlib import Path\n"
        "import pmap\n"
        "from .sub import Number\n"
        "def twice(x):\n    return Number(2 * x)\n"
        "def places(x):\n    return __file__, pmap.__file__\n"
        "def data(x):\n    return (Path(__file__).parent / 'data.txt').read_text()\n"
        "def fail(x):\n    raise LookupError(x)\n"
        "def begin():\n    global begun\n    begun = True\n"
        "def has_begun(x):\n    return begun\n"
    )
    monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
    yield importlib.import_module(f"{NAME}.work")
    for name in [*sys.modules]:
        if name.partition(".")[0] == NAME:
            del sys.modules[name]


@pytest.fixture
def node(python: str, tmp_path: Path) -> Iterator[BareNode]:
    """A node without pmap and the package."""
    with BareNode(python, tmp_path / "node") as made:
        yield made


@pytest.mark.parametrize("inner", [None, False])
def test_a_node_runs_functions_of_packages_that_it_does_not_have(
    inner: bool | None, node: BareNode, sample: Any, tmp_path: Path
) -> None:
    verb = pmap.using(backend=node, processes=1, ship=[NAME], inner_worker=inner)
    twice = verb(sample.twice, range(50))
    assert twice == [2 * x for x in range(50)]
    assert {type(x) for x in twice} == {importlib.import_module(NAME + ".numbers").Number}
    assert verb(sample.data, [1]) == ["seven"]
    ((ours, pmaps),) = verb(sample.places, [1])
    there = str(tmp_path / "node")
    assert ours.startswith(there)
    assert pmaps.startswith(there)
    (failure,) = verb.collecting(sample.fail, [3])
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, LookupError)


def test_an_inner_worker_begins_with_a_function_of_the_package(node: BareNode, sample: Any) -> None:
    verb = pmap.using(backend=node, processes=1, ship=[sys.modules[NAME]])
    assert verb(sample.has_begun, [1], initializer=sample.begin) == [True]


def test_the_archive_goes_once(node: BareNode, sample: Any) -> None:
    verb = pmap.using(backend=node, processes=1, ship=[NAME], chunksize=1)
    assert verb(sample.twice, range(6)) == [0, 2, 4, 6, 8, 10]
    assert verb(sample.twice, [4]) == [8]
    size = len(packed_packages([NAME]).archive)
    assert [task > size for task in node.sizes] == [True] + 6 * [False]


def test_a_node_that_comes_later_asks_for_the_archive(
    python: str, sample: Any, tmp_path: Path
) -> None:
    with BareNode(python, tmp_path / "a") as first, BareNode(python, tmp_path / "b") as second:

        class Alternating:
            count = 0

            def submit(self, f: Any, /, *args: Any) -> Any:
                self.count += 1
                return (second, first)[self.count % 2].submit(f, *args)

        both = Alternating()
        verb = pmap.using(backend=both, processes=1, ship=[NAME], chunksize=1)
        assert verb(sample.twice, range(6)) == [0, 2, 4, 6, 8, 10]
        assert {*os.listdir(tmp_path / "b")} == {*os.listdir(tmp_path / "a")} != set()
        size = len(packed_packages([NAME]).archive)
        # The second node said that it lacks the archive. The engine gave the same chunk, with the
        # archive, to the first node, which had it. So the next chunk brought it to the second node.
        assert [task > size for task in first.sizes] == [True, True, False, False]
        assert [task > size for task in second.sizes] == [False, True, False]


def test_processes_of_one_node_unpack_once(python: str, sample: Any, tmp_path: Path) -> None:
    for _ in range(2):
        with BareNode(python, tmp_path / "node") as node:
            verb = pmap.using(backend=node, processes=1, ship=[NAME])
            assert verb(sample.twice, range(3)) == [0, 2, 4]
    (folder,) = os.listdir(tmp_path / "node")
    assert folder == f"pmap-{packed_packages([NAME]).key}"


def test_a_folder_that_somebody_else_can_write_is_not_used(
    node: BareNode, sample: Any, tmp_path: Path
) -> None:
    theirs = tmp_path / "node" / f"pmap-{packed_packages([NAME]).key}"
    (theirs / "pmap").mkdir(parents=True)
    (theirs / "pmap" / "__init__.py").write_text("raise RuntimeError('their code')")
    theirs.chmod(0o777)
    with pytest.raises(WorkerStartError, match="what was shipped cannot be used: OSError"):
        pmap(sample.twice, [1], backend=node, processes=1, ship=[NAME])


def test_a_folder_is_used_again_where_modes_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On Windows a folder seems to be writable for all, and there are no user ids.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delattr(os, "getuid")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("one.py", "")
    folder = unpacking.unpacked("key", data.getvalue())
    assert folder == str(tmp_path / "pmap-key")
    (tmp_path / "pmap-key").chmod(0o777)
    assert unpacking.unpacked("key", None) == folder


def test_another_python_is_told_before_anything_is_unpacked(tmp_path: Path) -> None:
    text = Path(unpacking.__file__).read_text()
    given = ("no key", "no.module", "run", (3, 4), wire.MISSING, wire.UNSTARTED)
    answer = wire.opened_answer(unpacking.Unpacking(text, given)(b""))
    assert answer.kind == wire.UNSTARTED
    assert "the caller has Python 3.4" in answer.reason
    assert answer.host == wire.host_name()


@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_the_task_is_pickled_without_a_name_of_ours(pickler: types.ModuleType, python: str) -> None:
    data: bytes = pickler.dumps(Shipped(run, "no key"))
    code = (
        "import pickle, sys; loaded = pickle.loads(bytes.fromhex(sys.argv[1]));"
        "again = pickle.loads(pickle.dumps(loaded));"
        "print(loaded.given == again.given, pickle.loads(again(b'task'))[0])"
    )
    command = [python, "-c", code, data.hex()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", str(wire.MISSING)]


def test_equal_files_are_an_equal_archive(sample: Any, tmp_path: Path) -> None:
    first = packed_packages([NAME])
    names = zipfile.ZipFile(io.BytesIO(first.archive)).namelist()
    assert f"{NAME}/data.txt" in names
    assert "pmap/__init__.py" in names
    assert not any("__pycache__" in name for name in names)
    source = tmp_path / "sources" / NAME / "numbers.py"
    source.write_text(source.read_text())
    os.utime(source, (1, 1))
    assert packed_packages([NAME, "pmap"]) == first
    source.write_text("class Number(float):\n    pass\n")
    assert packed_packages([NAME]).key != first.key


def test_a_module_that_is_one_file_travels(
    node: BareNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one_file_sample.py").write_text("def file(x):\n    return __file__\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module = importlib.import_module("one_file_sample")
    (place,) = pmap(module.file, [1], backend=node, processes=1, ship=[module])
    assert Path(place).parent.parent == tmp_path / "node"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("json", "list of packages"),
        (3, "list of packages"),
        ([3], "list of packages"),
        (["no_such_package"], "no package or module"),
        (["sys"], "no package or module"),
        ([types.ModuleType("made")], "no package or module"),
        (["json.decoder"], r"ship=\['json'\]"),
        (["__main__"], "leave it out"),
    ],
    ids=str,
)
def test_what_cannot_be_shipped(wrong: Any, says: str) -> None:
    with pytest.raises(OptionError, match=rf"ship=.*{says}"):
        pmap.using(ship=wrong)


def test_what_is_on_this_machine_is_refused() -> None:
    with pytest.raises(OptionError, match=r"ship=.*backend that is an engine"):
        pmap(square, [1], ship=[json])
    with pytest.raises(OptionError, match=r"ship=.*backend='threads'"):
        pmap(square, [1], ship=[json], backend="threads")
    with (
        ThreadPoolExecutor(1) as threads,
        ProcessPoolExecutor(1) as processes,
        ThreadPool(1) as pool,
        Executor(1) as ours,
    ):
        for engine in (threads, processes, pool, ours):
            with pytest.raises(OptionError, match=r"ship=.*runs its tasks on this machine"):
                pmap(square, [1], ship=[json], backend=engine)
    assert package.__name__ == "pmap"
