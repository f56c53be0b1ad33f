"""``python -m pmap doctor`` as a program, on this machine and on poor ones."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest
from tests.limits import TIME_LIMIT
from tests.scripts import environment, finished, run, run_script

import pmap

DOCTOR: Final = ["-m", "pmap", "doctor"]
WORKS: Final = r"^  {} +works: first call [\d.]+ m?s, second [\d.]+ m?s$"
INTERPRETERS: Final = ("interpreters",) if sys.version_info >= (3, 14) else ()
HERE: Final = ("processes", "threads", *INTERPRETERS, "serial")
NAMES: Final = ("spawn", "forkserver", "fork", *HERE)


def trials(printed: str, *names: str) -> list[str]:
    """Return which of the trials worked."""
    return [name for name in names if re.search(WORKS.format(name), printed, re.MULTILINE)]


def test_it_says_what_a_bug_report_needs(tmp_path: Path) -> None:
    printed = run(DOCTOR, tmp_path)
    assert trials(printed, *NAMES) == list(NAMES)
    assert f"{pmap.__version__}, {Path(pmap.__file__).parent}" in printed
    assert sys.version.split()[0] in printed
    assert sys.executable in printed
    for word in ("CPUs", "memory", "shared memory", "open files", "OMP_NUM_THREADS=", "BLAS"):
        assert re.search(rf"^  .*{word}", printed, re.MULTILINE), word
    assert "DOES NOT WORK" not in printed
    assert "What to change\n" in printed


def test_help_says_both(tmp_path: Path) -> None:
    printed = run(["-m", "pmap", "--help"], tmp_path)
    assert printed.startswith("usage: python -m pmap [-h] [{tour,doctor}]\n")
    assert re.search(r"^tour ", printed, re.MULTILINE)
    assert re.search(r"^doctor ", printed, re.MULTILINE)


def test_another_word_is_refused(tmp_path: Path) -> None:
    done = finished(["-m", "pmap", "surgeon"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'surgeon'" in done.stderr
    assert "doctor" in done.stderr


POOR: Final = """\
import builtins, errno, os, sys, tempfile

def refuse(*args, **kwargs):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))

{poor}
from pmap._doctor import doctor
print("code", doctor.main())
"""

# By name: what is done to the machine; the trials that work there; what is said.
MACHINES: Final = {
    "no /proc, no /dev/shm, no memfd": (
        """
        there, listdir, scandir, access = open, os.listdir, os.scandir, os.access
        def blind(path, *args, **kwargs):
            if str(path).startswith(("/proc", "/sys")):
                raise FileNotFoundError(path)
            return there(path, *args, **kwargs)
        builtins.open = blind
        os.listdir = lambda path=".": refuse() if str(path).startswith("/proc") else listdir(path)
        os.scandir = lambda path=".": refuse() if str(path).startswith("/proc") else scandir(path)
        os.access = lambda path, *args: path != "/dev/shm" and access(path, *args)
        os.memfd_create = refuse
        os.getloadavg = refuse
        """,
        NAMES,
        ("/proc cannot be read", "no memfd_create", "no /dev/shm"),
    ),
    "no Python to start": (
        """
        import multiprocessing
        multiprocessing.set_executable("/nowhere/python")
        """,
        ("fork", "threads", *INTERPRETERS, "serial"),
        ('start_method="forkserver", the default here, does not work', "Give", '="fork"'),
    ),
    "no fork": (
        """
        del os.fork
        """,
        ("spawn", *HERE),
        ("forkserver not on this system", "fork not on this system"),
    ),
    "no threads": (
        """
        import threading
        def refused(thread):
            raise RuntimeError("can't start new thread")
        threading.Thread.start = refused
        """,
        (),
        ("No start method works", "can't start new thread"),
    ),
    "few descriptors": (
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))
        """,
        NAMES,
        ("70 open files", "ulimit -n 70 is the most"),
    ),
    "nothing that is installed": (
        """
        from importlib import metadata
        metadata.version = refuse
        tempfile.gettempdir = refuse
        sys.modules["numpy"] = None
        sys.modules["resource"] = None
        """,
        NAMES,
        ("packages none", "temporary files none", "BLAS of NumPy unknown"),
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_poor_machine(name: str, tmp_path: Path) -> None:
    poor, working, said = MACHINES[name]
    ill = not {"threads", "processes"} <= set(working)
    printed = "\n".join(run_script(tmp_path, POOR.format(poor=textwrap.dedent(poor))))
    assert trials(printed, *NAMES) == list(working), printed
    flat = " ".join(printed.split())
    assert [one for one in said if one not in flat] == [], printed
    assert printed.endswith(f"code {int(ill)}")


def test_a_reader_who_leaves_early_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, *DOCTOR],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(TIME_LIMIT) == 1


def test_streams_that_are_closed(tmp_path: Path) -> None:
    # What it prints goes to stderr's place: what is left of the three.
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "os.dup2(1, 50); os.close(0); os.close(1); os.close(2)\n"
        "os.execv(sys.executable, [sys.executable, '-c', '''\n"
        "import sys\n"
        "from pmap._doctor import doctor\n"
        "assert sys.stdin is None and sys.stdout is None\n"
        "code = doctor.main()\n"
        "sys.stdout = open(50, 'w')\n"
        "sys.exit(code or doctor.main())\n"
        "'''])\n",
        encoding="utf-8",
    )
    printed = run([str(script)], tmp_path)
    assert "started without stdin and stderr" in " ".join(printed.split())
    assert trials(printed, *NAMES) == list(NAMES)


def test_letters_that_the_terminal_has_not(tmp_path: Path) -> None:
    folder = tmp_path / "zurück"
    folder.mkdir()
    done = finished(DOCTOR, tmp_path, PYTHONIOENCODING="ascii", TMPDIR=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert r"zur\xfcck" in done.stdout
