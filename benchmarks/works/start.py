"""What a program pays before its first result."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from compileall import compile_dir
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Final

from ..work import ALL, Figure, Setting, Target, Work, timed

# Each is a whole program: two workers, four items, exit.
POOL: Final = """\
from multiprocessing import get_context
{define}
if __name__ == "__main__":
    with get_context("{method}").Pool(2) as pool:
        print(pool.map({function}, range(4)))
"""
FUTURES: Final = """\
{imports}
{define}
if __name__ == "__main__":
    with {make} as pool:
        print(list(pool.map({function}, range(4)){end}))
"""
PROGRAMS: Final = {
    "pmap": "from pmap import pmap\n{define}\nprint(pmap({function}, range(4), processes=2))\n",
    "Pool spawn": POOL.replace("{method}", "spawn"),
    "Pool": POOL.replace("{method}", "forkserver"),
    "PPE": FUTURES.replace(
        "{imports}",
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context",
    )
    .replace("{make}", 'ProcessPoolExecutor(2, mp_context=get_context("forkserver"))')
    .replace("{end}", ""),
    "loky": (
        "from loky import get_reusable_executor\n{define}\n"
        "print(list(get_reusable_executor(max_workers=2).map({function}, range(4))))\n"
    ),
    "joblib": (
        "from joblib import Parallel, delayed\n{define}\n"
        "print(Parallel(n_jobs=2)(delayed({function})(x) for x in range(4)))\n"
    ),
    "mpire": FUTURES.replace("{imports}", "from mpire import WorkerPool")
    .replace("{make}", 'WorkerPool(2, start_method="forkserver")')
    .replace("{end}", ""),
    "pebble": FUTURES.replace(
        "{imports}", "from multiprocessing import get_context\nfrom pebble import ProcessPool"
    )
    .replace("{make}", 'ProcessPool(2, context=get_context("forkserver"))')
    .replace("{end}", ".result()"),
    "alone": "{define}\nprint(list(map({function}, range(4))))\n",  # no library can be faster
}
NUMPY: Final = "`abs`, NumPy imported"
ADDED: Final = "the same, less what the script takes alone"
CASES: Final = {
    "`abs`": ("", "abs"),
    "a function of `__main__`": ("def function(x):\n    return x + 1\n", "function"),
    NUMPY: ("import numpy\n", "abs"),
}
MODULES: Final = {
    "pmap": "pmap",
    "Pool": "multiprocessing.pool",
    "PPE": "concurrent.futures.process",
    "loky": "loky",
    "joblib": "joblib",
    "mpire": "mpire",
    "pebble": "pebble",
}


def compile_all() -> None:
    """Compile pmap, as pip did with the peers: it may be installed from a checkout."""
    spec = find_spec("pmap")
    assert spec is not None
    assert spec.origin is not None
    compile_dir(Path(spec.origin).parent, quiet=1)


def measure_cold(setting: Setting) -> Iterator[tuple[str, float]]:
    """Run a whole program."""
    compile_all()
    times = 3 if setting.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"

        def once(peer: str, define: str, function: str) -> float:
            text = PROGRAMS[peer].replace("{define}", define).replace("{function}", function)
            script.write_text(text, encoding="utf-8")
            return timed(lambda: _run(str(script))) * 1e3

        for name, case in CASES.items():
            took = median(once(setting.peer, *case) for _ in range(times))
            yield name, took
            if name == NUMPY and setting.peer != "alone":
                yield ADDED, took - median(once("alone", *case) for _ in range(3))


def _run(*arguments: str) -> str:
    """Run a fresh interpreter to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure_import(setting: Setting) -> Iterator[tuple[str, float]]:
    """Import in a fresh interpreter."""
    compile_all()
    code = (
        "from time import perf_counter; begin = perf_counter()\n"
        f"import {MODULES[setting.peer]}\n"
        "print(perf_counter() - begin)"
    )
    yield "import", median(float(_run("-c", code)) for _ in range(3 if setting.quick else 9)) * 1e3


WORKS: Final = (
    Work(
        "cold",
        "A whole program: a fresh interpreter, two workers, the first result, exit",
        tuple(
            Figure(name, "ms", (Target(0.75, "Pool spawn"), Target(0.3, "loky")))
            for name in (*CASES, ADDED)
        ),
        measure_cold,
        tuple(PROGRAMS),
    ),
    Work(
        "import",
        "The import alone, in a fresh interpreter",
        (Figure("import", "ms", (Target(1.0),)),),
        measure_import,
        ALL,
    ),
)
