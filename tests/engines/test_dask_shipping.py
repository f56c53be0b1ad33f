"""Packages travel to a Dask worker that has neither them nor pmap: run by ``nox -s engines``."""

import importlib
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.engines.bare_node import bare_environment
from tests.engines.places import Place, recipe
from tests.limits import TIME_LIMIT

from pmap import pmap

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("default")]
PLACES: Final[list[Place]] = []
TABLE: Final = 50_000


@contextmanager
def bare_worker(folder: Path) -> Generator[Any, None, None]:
    """Start a cluster with a worker of an environment without pmap; yield the client."""
    distributed: Any = importlib.import_module("distributed")
    # The worker imports Dask out of the packages of this environment. pmap is installed here by a
    # .pth file, and Python does not read those of a folder that stands in PYTHONPATH.
    packages = str(Path(distributed.__file__).parents[1])
    python = bare_environment(folder / "env")
    variables = {**os.environ, "PYTHONPATH": packages, "TMPDIR": str(folder / "temporary")}
    (folder / "temporary").mkdir()
    without = subprocess.run(
        [python, "-c", "import pmap"],
        env=variables,
        cwd=folder,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert without.returncode == 1, "the environment of the worker must not have pmap"
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None, host="127.0.0.1") as cluster,
        distributed.Client(cluster) as client,
    ):
        command = [python, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "2"]
        worker = subprocess.Popen(
            [*command, *options],
            env=variables,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            client.wait_for_workers(1, timeout=TIME_LIMIT)
            yield client
        finally:
            worker.terminate()
            worker.wait()


def test_a_worker_without_pmap_runs_functions_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources" / "shipped_to_dask"
    sources.mkdir(parents=True)
    (sources / "__init__.py").touch()
    (sources / "work.py").write_text(
        "import pmap\n"
        "def twice(x):\n    return 2 * x\n"
        "def places(x):\n    return __file__, pmap.__file__\n"
    )
    monkeypatch.setattr(sys, "path", [str(sources.parent), *sys.path])
    work = importlib.import_module("shipped_to_dask.work")
    try:
        with bare_worker(tmp_path) as client:
            engine = recipe("dask")["DaskEngine"](client)
            verb = pmap.using(backend=engine, ship=["shipped_to_dask"])
            assert verb(work.twice, range(100)) == [2 * x for x in range(100)]
            ((ours, pmaps),) = verb(work.places, [1])
            assert ours.startswith(str(tmp_path / "temporary"))
            assert pmaps.startswith(str(tmp_path / "temporary"))
            # A large function is shared by the engine, as the archive is.
            table = [*range(TABLE)]
            assert verb(table.index, [7, 8, 9]) == [7, 8, 9]
            assert verb.using(inner_worker=False)(work.twice, range(9)) == [*range(0, 18, 2)]
    finally:
        for name in [*sys.modules]:
            if name.partition(".")[0] == "shipped_to_dask":
                del sys.modules[name]
