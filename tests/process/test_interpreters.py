"""What is of ``backend="interpreters"`` alone; that it keeps the laws is in `tests.contract`."""

import os
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from tests.files import marks
from tests.limits import until
from tests.process.interpreter_items import change_variables, draw, import_numpy, place, wait_to_go
from tests.scripts import finished, run_script

from pmap import TaskTimeout, WorkerStartError, pmap, shutdown
from pmap._backends.interpreters import living

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="concurrent.interpreters is of Python 3.14"
)
HERE: Final = "interpreters" if sys.version_info >= (3, 14) else "serial"  # else all is skipped
TWO: Final = pmap.using(backend=HERE, processes=2)


def test_each_worker_has_modules_of_its_own_in_this_process() -> None:
    found = TWO(place, range(8), chunksize=1)
    assert {pid for pid, _ in found} == {os.getpid()}
    from tests.process import interpreter_items

    assert not interpreter_items.runs
    assert max(count for _, count in found) >= 4, "a worker keeps what it has"


def test_functions_and_classes_of_a_script(tmp_path: Path) -> None:
    script = """
        import logging
        from pmap import pmap
        factor = 3
        class Point:
            def __init__(self, x): self.x = x
        def scaled(p):
            print("item", p.x)
            logging.warning("of %d", p.x)
            return Point(p.x * factor)
        logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
        found = pmap(scaled, [Point(1), Point(2)], backend="interpreters", processes=1)
        print([p.x for p in found], {type(p) is Point for p in found})
    """
    *said, last = run_script(tmp_path, textwrap.dedent(script))
    assert sorted(said) == ["item 1", "item 2", "of 1", "of 2"]
    assert last == "[3, 6] {True}"


def test_a_module_that_refuses_interpreters_is_named() -> None:
    pytest.importorskip("numpy")
    with pytest.raises(ImportError, match=r"^numpy cannot be used .* Use backend='processes'") as e:
        TWO(import_numpy, [1])
    assert e.value.name == "numpy"
    assert "numpy._core" in str(e.value)


def test_variables_of_an_item_are_its_own() -> None:
    name = "PMAP_TEST_OF_INTERPRETERS"
    assert TWO(change_variables, [name] * 4, chunksize=2) == [(None, "of an item", 0)] * 4
    assert os.environ.get(name) is None


def test_what_belongs_to_the_process_is_left_alone(tmp_path: Path) -> None:
    before = os.umask(0o027)
    here = os.getcwd()
    try:
        TWO(abs, [1])
        os.chdir(tmp_path)  # the workers have captured the earlier one
        os.umask(0o022)
        TWO(change_variables, ["PMAP_TEST_OF_INTERPRETERS"])
        assert Path.cwd() == tmp_path
        assert os.umask(0o027) == 0o022
    finally:
        os.chdir(here)
        os.umask(before)


def test_random_numbers_are_those_of_the_seed() -> None:
    expected = pmap(draw, range(9), seed=7, backend="serial")
    assert TWO(draw, range(9), seed=7, chunksize=2) == expected


def test_a_cancelled_call_begins_no_other_item(tmp_path: Path) -> None:
    one = TWO.using(processes=1)
    later = one.async_(partial(wait_to_go, str(tmp_path)), range(50), chunksize=25)
    until(lambda: marks(tmp_path) == ["0"], "the first item's beginning")
    assert later.cancel()
    later.wait()
    (tmp_path / "go").touch()
    assert one(abs, [-1]) == [1]
    assert marks(tmp_path) == ["0"]


def test_a_late_item_is_left_to_itself(tmp_path: Path) -> None:
    later = partial(wait_to_go, str(tmp_path))
    with pytest.raises(TaskTimeout):
        TWO(later, [0], timeout=0.2)
    assert TWO(later, [1, 2]) == [1, 2]
    (tmp_path / "go").touch()
    shutdown()
    until(lambda: not living, "the end of all interpreters")


def test_no_descriptor_of_the_resource_tracker_is_left(tmp_path: Path) -> None:
    """A worker has two, which are the process's: its own, and the one of `multiprocessing`."""
    script = """
        import os
        from multiprocessing import resource_tracker
        from pmap import pmap, shutdown
        from pmap._backends.interpreters import living
        def inode(_):
            from multiprocessing import resource_tracker
            return os.fstat(resource_tracker._resource_tracker._fd).st_ino
        def copies(pipe):
            found = os.listdir("/proc/self/fd")
            return sum(os.path.realpath(f"/proc/self/fd/{fd}").endswith(pipe) for fd in found)
        resource_tracker.ensure_running()
        pipe = inode(None)
        seen = set(pmap(inode, range(4), backend="interpreters", processes=2, chunksize=1))
        threads = [handle.thread for handle in living]
        during = copies(f"pipe:[{pipe}]")
        shutdown()
        for thread in threads:
            thread.join()
        print(seen == {pipe}, len(threads) > 0, during > 1, copies(f"pipe:[{pipe}]"))
    """
    assert run_script(tmp_path, textwrap.dedent(script)) == ["True True True 1"]


def test_the_memory_of_ended_interpreters_is_free_again(tmp_path: Path) -> None:
    script = """
        import resource
        from pmap import pmap, shutdown
        from pmap._backends.interpreters import living
        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * resource.getpagesize() >> 20
        sizes = []
        for _ in range(5):
            assert pmap(abs, [-1, -2], backend="interpreters", processes=2) == [1, 2]
            threads = [handle.thread for handle in living]
            shutdown()
            for thread in threads:
                thread.join()
            sizes.append(resident())
        print(sizes[4] - sizes[0])
    """
    (grown,) = run_script(tmp_path, textwrap.dedent(script))
    assert int(grown) < 8, "MB, where 8 interpreters took 30"


def test_no_fork_beside_interpreters() -> None:
    """Python crashes in the child."""
    assert TWO(abs, [-1]) == [1]
    with pytest.raises(WorkerStartError, match=r"crashes in a fork"):
        pmap(abs, [-1], start_method="fork", processes=1)
    shutdown()
    until(lambda: not living, "the end of all interpreters")
    assert pmap(abs, [-1], start_method="fork", processes=1) == [1]


def test_the_environment_chooses_it(tmp_path: Path) -> None:
    script = """
        import os
        from pmap import pmap
        print(*pmap(lambda _: os.getpid(), [0]), os.getpid())
    """
    done = finished(["-c", textwrap.dedent(script)], tmp_path, PMAP_BACKEND="interpreters")
    assert done.stderr == ""
    assert len({*done.stdout.split()}) == 1


ENDINGS: Final = {
    "nothing runs": ("pmap(abs, [1], **options)", 3, ""),
    "an item ends soon": ("pmap.async_(item, [0.2], **options); until_begun()", 3, ""),
    "an item never ends": ("pmap.async_(item, [60], **options); until_begun()", 1, "still run"),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_end_of_the_program(how: str, tmp_path: Path) -> None:
    act, code, said = ENDINGS[how]
    script = f"""
        import atexit, os, sys, time
        from pmap import pmap
        options = dict(backend="interpreters", processes=1)
        def item(seconds):
            open("begun", "w").close()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
        def until_begun():
            while not os.path.exists("begun"):
                time.sleep(0.01)
        {act}
        sys.exit(3)
    """
    done = finished(["-c", textwrap.dedent(script)], tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr if said else not done.stderr


def test_explain() -> None:
    found = TWO.explain(abs, [-1, 2])
    assert found.backend == "interpreters"
    assert "in interpreters of this process" in str(found)
