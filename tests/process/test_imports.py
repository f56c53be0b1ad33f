"""What ``import pmap`` may load, and what a worker has loaded when its first item runs.

Both are held twice: by names that must not be there, for a message that says what went wrong; and
by all modules there are, against an interpreter that imported no more than what we mean to use, so
that nothing comes in unnoticed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.backends import START_METHODS
from tests.limits import TIME_LIMIT

import pmap

# What the door needs of the standard library, and with it whatever these import themselves.
OF_THE_DOOR: Final = (
    "__future__, collections.abc, contextlib, enum, functools, itertools, "
    "operator, os, reprlib, sys, types, typing, "
    "_collections, _contextvars, _signal, _socket, _thread"
    # `typing` imports it for each NamedTuple and TypedDict.
    + (", annotationlib" if sys.version_info >= (3, 14) else "")
)
# What a worker needs: C modules, what `_pickle` imports when it is loaded, and `types`, of which a
# worker's command line makes the package without running its __init__.
OF_A_WORKER: Final = (
    "__future__, gc, io, itertools, marshal, mmap, os, select, struct, sys, time, types, "
    "_collections, _contextvars, _locale, _pickle, _signal, _socket, _thread, faulthandler, fcntl"
)

HEAVY: Final = {
    "asyncio",
    "cloudpickle",
    "concurrent",
    "concurrent.futures",
    "dataclasses",
    "difflib",
    "email",
    "inspect",
    "json",
    "logging",
    "multiprocessing",
    "multiprocessing.pool",
    "numpy",
    "pickle",
    "queue",
    "random",
    "selectors",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "tqdm",
    "traceback",
    "typing_extensions",
    "urllib",
}
AFTER_THE_FIRST_CALL: Final = {
    "pmap._worker.worker",
    "pmap._engine.driver",
    "pmap._backends.launch",
    "pmap._api.pool",
    "pmap._api.shared_pools",
    "pmap._scheduling.state",
    "pmap._scheduling.scheduler",
    "pmap._backends.protocol",
}
NOT_IN_A_WORKER: Final = HEAVY | {
    "collections",
    "enum",
    "functools",
    "re",
    "signal",
    "threading",
    "typing",
    "weakref",
}
OURS_IN_A_WORKER: Final = {
    "pmap",
    "pmap._transport",
    "pmap._worker",
    "pmap._transport.journal",
    "pmap._transport.light_stdlib",
    "pmap._worker.chunk",
    "pmap._worker.function",
    "pmap._worker.identity",
    "pmap._worker.item",
    "pmap._worker.measured",
    "pmap._worker.terminal",
    "pmap._worker.open_files",
    "pmap._worker.reporting",
    "pmap._worker.sending",
    "pmap._worker.streams",
    "pmap._worker.traces",
    "pmap._worker.side_effects",
    "pmap._worker.startup",
    "pmap._worker.worker",
    "pmap._transport.light_pickle",
    "pmap._transport.adaptive_spin",
    "pmap._transport.process_role",
    "pmap._transport.exceptions",
    "pmap._transport.failure_record",
    "pmap._transport.descriptors",
    "pmap._transport.registered",
    "pmap._transport.segments",
    "pmap._transport.protocol",
    "pmap._transport.segment_pool",
    "pmap._transport.values",
    "pmap._transport.packing",
    "pmap._transport.framing",
    "pmap._transport.environment",
    "pmap._transport.import_path",
    "pmap._transport.importable",
    "pmap._transport.randomness",
    "pmap._transport.process_settings",
    "pmap._transport.settings",
    "pmap._transport.shadows",
    "pmap._transport.started",
    "pmap._transport.by_value",
    "pmap._transport.by_value.arriving",
}

SHOW: Final = "\nimport sys\nprint(*sorted(sys.modules))\n"


def run(code: str, *more: Path) -> str:
    """Return what a fresh interpreter prints that runs `code`, with `more` on its import path."""
    path = [str(Path(pmap.__file__).parents[1]), *map(str, more)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def loaded(code: str, *more: Path) -> set[str]:
    """Return the modules of a fresh interpreter that ran `code`."""
    return set(run(code + SHOW, *more).split())


def of_pmap(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "pmap"}


@pytest.fixture(scope="module")
def after_import() -> set[str]:
    return loaded("import pmap")


def test_import_loads_nothing_heavy(after_import: set[str]) -> None:
    # "Nothing" is what a bare interpreter has not got either: a .pth file may import anything.
    assert not after_import & HEAVY - loaded("")


def test_import_loads_no_more_of_the_standard_library_than_it_means_to(
    after_import: set[str],
) -> None:
    rest = after_import - loaded(f"import {OF_THE_DOOR}")
    assert rest == of_pmap(after_import)


def test_import_leaves_the_pool_for_the_first_call(after_import: set[str]) -> None:
    assert "pmap._api.verbs" in after_import
    assert not after_import & AFTER_THE_FIRST_CALL


def test_asking_for_the_pool_loads_it() -> None:
    assert "pmap._api.pool" in loaded("import pmap; pmap.Pool")


def test_asking_for_the_executor_loads_it_and_no_standard_one() -> None:
    modules = loaded("import pmap; pmap.Executor")
    assert {"pmap._api.executor", "concurrent.futures"} <= modules
    assert not modules & {"concurrent.futures.process", "multiprocessing", "subprocess"}


@pytest.mark.parametrize("method", START_METHODS)
def test_a_map_of_importable_functions_needs_no_other_library(method: str) -> None:
    code = f"from pmap import pmap\npmap(abs, [-1, 2], processes=1, start_method={method!r})"
    modules = loaded(code)
    assert "pmap._api.shared_pools" in modules
    allowed = loaded("import subprocess") if method == "spawn" else set[str]()
    assert not modules & HEAVY - allowed


def test_no_named_tuple_has_a_type_in_quotes() -> None:
    # It would be compiled when the class is made, and that makes all classes of `ast`.
    code = """
import sys
from typing import ForwardRef
from pmap import pmap
pmap(abs, [-1, 2], processes=1)
modules = [m for name, m in sys.modules.items() if name.split(".")[0] == "pmap"]
classes = {kind for m in modules for kind in vars(m).values() if isinstance(kind, type)}
named = [kind for kind in classes if issubclass(kind, tuple) and hasattr(kind, "_fields")]
quoted = [k for k in named for t in k.__annotations__.values() if isinstance(t, ForwardRef)]
print(len(named) > 20, quoted)
"""
    assert run(code).strip() == "True []"


def test_the_template_boots_while_the_pool_is_imported() -> None:
    code = """
import sys

class Watch:
    def find_spec(self, name, path, target=None):
        if name in ("pmap._backends.launch", "pmap._api.shared_pools"):
            boot = sys.modules.get("pmap._backends.boot")
            print(name, len(boot._ahead) if boot else "no template")

sys.meta_path.insert(0, Watch())
from pmap import pmap
pmap(abs, [1], processes=1, start_method="forkserver")
"""
    shown = dict(line.split() for line in run(code).splitlines())
    assert shown.keys() == {"pmap._backends.launch", "pmap._api.shared_pools"}
    assert {*shown.values()} == {"1"}


# --- a worker ------------------------------------------------------------------------------------

PROBE: Final = """
def modules():
    import sys
    return sorted(sys.modules)
"""


def in_worker(method: str, folder: Path) -> set[str]:
    """Return the modules of a worker whose first item has just begun."""
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    code = f"""
import json, probe
from pmap import papply
print(json.dumps(papply.using(processes=1, start_method={method!r})(probe.modules)))
"""
    names: list[str] = json.loads(run(code, folder))
    assert "probe" in names
    return {*names} - {"probe"}


def test_a_worker_of_a_template_loads_nothing_itself() -> None:
    code = "from pmap import pmap\npmap(abs, [1, 2], processes=2, start_method='forkserver')"
    source = str(Path(pmap.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        env={**os.environ, "PYTHONPATH": source},
    )
    # The caller and its template: each module at most once.
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    assert max(map(names.count, OF_A_WORKER.split(", "))) <= 2
    assert names.count("pmap._worker.worker") == 1  # the caller does not run items


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_starts_from_the_c_modules_alone(method: str, tmp_path: Path) -> None:
    modules = in_worker(method, tmp_path)
    assert not modules & NOT_IN_A_WORKER - loaded("")
    ours = of_pmap(modules)
    assert modules - loaded(f"import {OF_A_WORKER}") == ours
    template = {"pmap._worker.template"} if method == "forkserver" else set[str]()
    assert ours == OURS_IN_A_WORKER | template


def test_a_forked_worker_has_what_its_parent_has_and_no_more(tmp_path: Path) -> None:
    modules = in_worker("fork", tmp_path)
    assert of_pmap(modules) > OURS_IN_A_WORKER
    assert not modules & {"asyncio", "cloudpickle", "logging", "multiprocessing", "numpy"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no templates")
def test_a_template_is_started_without_subprocess() -> None:
    # Its import would be waited for before anything else of the first call.
    code = "import pmap._backends.boot as b\nassert b.begin('forkserver') is not None"
    assert "subprocess" not in loaded(code) - loaded("")


SHIM: Final = """
import os, sys
here = os.path.dirname(__file__)
with open(os.path.join(here, "marks"), "a") as marks:
    marks.write(f"{os.getpid()}\\n")
sys.path = [entry for entry in sys.path if entry != here]
del sys.modules["cloudpickle"]
import cloudpickle
"""


@pytest.mark.parametrize("first", ["by value", "by name"])
def test_what_functions_by_value_need_is_loaded_once(first: str, tmp_path: Path) -> None:
    (tmp_path / "cloudpickle.py").write_text(SHIM)
    code = f"""
import io
from pmap import papply
verb = papply.using(start_method="forkserver", isolate=True)
if {first == "by name"}:
    verb(len, "ab")
def mine(x, own=io.StringIO()):
    return -x
print(*[verb(mine, n) for n in range(4)])
"""
    assert run(code, tmp_path).split() == ["0", "-1", "-2", "-3"]
    # The caller and the template: workers have it from there.
    assert len((tmp_path / "marks").read_text().split()) == 2


def test_what_prepares_for_functions_by_value_does_not_load_pmap_itself() -> None:
    code = """
import io
from pmap import papply
def mine(own=io.StringIO()):
    import sys
    return [name for name in sys.modules if name.startswith("pmap.")]
print(*papply.using(start_method="forkserver")(mine))
"""
    ours = {*run(code).split()}
    by_value = {name for name in ours if name.startswith("pmap._transport.by_value.")}
    assert "pmap._transport.by_value.full_pickler" in by_value
    for_logging = {"pmap._worker.log_records", "pmap._worker.warning_records"}
    assert ours - by_value <= OURS_IN_A_WORKER | for_logging | {"pmap._worker.template"}


@pytest.mark.parametrize("method", START_METHODS)
def test_a_plain_function_of_main_needs_no_cloudpickle(method: str) -> None:
    code = f"""
import sys
from pmap import pmap
LIMIT = 3
def other(x: int) -> list[int]:
    return [x + LIMIT]
def mine(x):
    return other(x), sorted(sys.modules)
[(result, names)] = pmap(mine, [4], processes=1, start_method={method!r})
print(result, *("cloudpickle" in there for there in (names, sys.modules)))
"""
    assert run(code).split() == ["[7]", "False", "False"]


def test_the_end_of_a_template_is_heard_and_not_looked_for() -> None:
    # A wait with a time limit looks now and then, and sleeps in between.
    code = """
import subprocess, time
def sleep(seconds):
    print("slept")
class Time:
    monotonic = time.monotonic
    sleep = sleep
from pmap import pmap
subprocess.time = Time
pmap(abs, [1, 2], processes=2, start_method="forkserver")
"""
    assert not run(code)


def test_a_worker_loads_pmap_itself_when_an_item_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(
        "def inner():\n    import pmap\n    return pmap.pmap(abs, [-1, -2]), pmap.__version__\n"
    )
    code = "import nested\nfrom pmap import papply\nprint(papply(nested.inner))"
    assert run(code, tmp_path).strip() == str(([1, 2], pmap.__version__))


# --- the door ------------------------------------------------------------------------------------


def test_all_is_sorted_and_there() -> None:
    assert pmap.__all__ == sorted(pmap.__all__)
    assert len({*pmap.__all__}) == len(pmap.__all__)
    for name in pmap.__all__:
        assert hasattr(pmap, name), name


def test_dir_lists_the_pool_before_it_is_loaded() -> None:
    shown = run(
        "import pmap, sys\nprint(*dir(pmap))\nprint('pmap._api.pool' in sys.modules)"
    ).split()
    assert shown.pop() == "False"
    assert {*pmap.__all__} <= {*shown}
    assert shown == sorted(shown)


def test_star_imports_every_public_name() -> None:
    shown = run("from pmap import *\nprint(*sorted(globals()))").split()
    assert {*pmap.__all__} <= {*shown}
    assert not [name for name in shown if name.startswith("_") and not name.endswith("__")]


@pytest.mark.parametrize("name", ["Pool", "Executor"])
def test_the_pool_is_one_class_wherever_it_is_asked_for(name: str) -> None:
    code = f"""
import pmap
from pmap import {name} as here
from pmap._api.{name.lower()} import {name} as there
print(pmap.{name} is here is there, here.__module__, vars(pmap)["{name}"] is here)
"""
    assert run(code).split() == ["True", "pmap", "True"]


@pytest.mark.parametrize("first", ["pmap.Completed", "pmap.as_completed", "pmap.gather"])
def test_what_is_loaded_later_lives_in_pmap_too(first: str) -> None:
    code = f"import pmap\n{first}\nprint(type(pmap.as_completed([])))"
    assert run(code).strip() == "<class 'pmap.Completed'>"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'pmap' has no attribute 'pmapp'"):
        _ = getattr(pmap, "pmapp")  # noqa: B009
    shown = run("try:\n    from pmap import nothing\nexcept ImportError as e:\n    print(e)")
    assert "cannot import name 'nothing' from 'pmap'" in shown


def test_public_classes_live_in_pmap() -> None:
    for name in pmap.__all__:
        public: object = getattr(pmap, name)
        if isinstance(public, type):
            assert public.__module__ == "pmap", name
