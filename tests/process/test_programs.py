"""Kinds of programs: frozen, embedding Python, with pools at import, of changing users.

Whatever could start processes without end is tried where there may be few of them.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.confinement import can_confine, confined
from tests.scripts import FREEZE_SUPPORT, MAPS_ITS_OWN, environment, finished, run_script

from pmap._backends import boot
from pmap._backends.processes import ProcessBackend

if TYPE_CHECKING:
    from _socket import socket

    from pmap._types import StartMethod

if not can_confine():
    pytest.skip("processes cannot be confined here", allow_module_level=True)


def test_a_pool_that_closes_in_this_moment_has_lost_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = ProcessBackend("spawn", 1, None, ())
    backend._open()

    def close_first(sock: "socket") -> object:  # as another thread may, between any two lines
        backend._close_poller()
        return usual(sock)

    usual = boot.mark_of
    monkeypatch.setattr("pmap._backends.poller.mark_of", close_first)
    assert not backend.has_lost_descriptors()


# --- frozen programs ---------------------------------------------------------------------------

FROZEN: Final = """
import os, sys
sys.frozen = True
sys.executable = {program!r}
with open({log!r}, "a") as log:
    log.write("started\\n")
{support}
"""
SUPPORT: Final = {
    **FREEZE_SUPPORT,
    "the standard one, by name": "from multiprocessing import freeze_support as support\n"
    "import pmap; support()",
    "none": "",
}


@pytest.mark.parametrize("support", SUPPORT)
def test_a_frozen_program_works_or_says_what_it_lacks(
    start_method: "StartMethod", support: str, tmp_path: Path
) -> None:
    program, script, log = (tmp_path / name for name in ("app", "app.py", "log"))
    text = FROZEN.format(program=str(program), log=str(log), support=SUPPORT[support])
    text += MAPS_ITS_OWN.format(options=f", start_method={start_method!r}")
    script.write_text(text, encoding="utf-8")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    done = confined([str(program)], tmp_path)
    assert done.stderr == ""
    if support == "none" and start_method != "fork":
        assert "ran the program again instead of becoming a worker" in done.stdout
        assert "pmap.freeze_support()" in done.stdout
        assert str(program) in done.stdout
    else:
        assert done.stdout == "[2, 3] [-1]\n"
    # Itself, and one for each worker or for the template.
    most = {"spawn": 5, "forkserver": 3, "fork": 1}
    assert 1 <= len(log.read_text().splitlines()) <= most[start_method]


def test_a_program_that_only_says_that_it_is_frozen(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    # As cx_Freeze does, which has its library in itself.
    text = "import os, sys; sys.frozen = True; del os.__file__\nfrom pmap import pmap\n"
    text += f"print(pmap(abs, [-1, 2], processes=2, start_method={start_method!r}))"
    assert run_script(tmp_path, text) == ["[1, 2]"]


# --- what is no Python -------------------------------------------------------------------------

NO_PYTHON: Final = """
import os, sys
from pmap import pmap, Pool, WorkerStartError
import pmap._backends.unanswered as unanswered
unanswered._ANSWER = {limit}
sys.executable = {program!r}
for _ in range(2):
    try:
        pmap(abs, [1], processes=2, start_method={method!r})
    except WorkerStartError as error:
        print(error)
sys.executable = {python!r}
print(pmap(abs, [-1], processes=2, start_method={method!r}))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize(
    ("program", "why"),
    [
        (None, "sys.executable is None"),
        ("", "sys.executable is ''"),
        ("/no/such/program", "No such file or directory: '/no/such/program'"),
        ("/bin/true", "'/bin/true' did not answer as a Python: it exited with code 0"),
        ("sleeps", "did not answer as a Python within 0.5 s"),
        ("python", "did not answer as a Python within 0.5 s"),
    ],
)
def test_what_is_no_python_is_named(
    method: str, program: str | None, why: str, tmp_path: Path
) -> None:
    text = "exec sleep 1000"
    if program in ("sleeps", "python"):
        if program == "python":  # the same interpreter, which runs an application
            text = f"exec {sys.executable} -c 'import time; time.sleep(1000)' \"$@\""
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        program = str(path)
    script = NO_PYTHON.format(program=program, method=method, limit=0.5, python=sys.executable)
    said = run_script(tmp_path, script)
    assert len(said) == 3
    for line in said[:2]:
        assert why in line
        assert "multiprocessing.set_executable" in line
        assert "could not be started, once" in line
    assert said[2] == "[1]"


NEVER_ANSWERS: Final = """
import itertools, sys
from pmap import WorkerStartError, pmap
import pmap._backends.unanswered as unanswered
unanswered._ANSWER = 0.5
sys.executable = {program!r}
verb = pmap.using(processes=2, start_method={method!r}, initializer=len, initargs=([],))
forms = [
    lambda: next(verb.iter(abs, itertools.count())),
    lambda: next(verb.iter_unordered(abs, [1])),
    lambda: verb.async_(abs, [1]).get(),
    lambda: verb(abs, [1]),
]
for form in forms[{first}:]:
    try:
        form()
    except WorkerStartError:
        print("told")
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_whoever_waits_is_told_that_no_worker_answers(method: str, tmp_path: Path) -> None:
    """Also if another thread waits for events already when the worker is started."""
    path = tmp_path / "sleeps"
    path.write_text("#!/bin/sh\nexec sleep 1000\n", encoding="utf-8")
    path.chmod(0o755)
    for first in range(4):
        script = NEVER_ANSWERS.format(program=str(path), method=method, first=first)
        assert run_script(tmp_path, script) == ["told"] * (4 - first)


# --- what is about the process: threads, users, descriptors, environment -------------------------

HELD: Final = """
import threading
lock = threading.Lock()
begun = threading.Event()
def hold():
    with lock:
        begun.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
begun.wait()
import os
me = os.getpid()
"""


def test_what_has_threads_is_not_forked(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HELD)
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    (tmp_path / "script.py").write_text("""
import os, sitecustomize, warnings
from pmap import pmap, WorkerLost
def alive(x):
    return sitecustomize.me == os.getpid(), len(os.listdir("/proc/self/task")) > 1
pmap = pmap.using(processes=2, start_method="forkserver")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(set(pmap(alive, range(4))), pmap(lambda x: -x, [1]))
    try:
        pmap(lambda _: os._exit(3), [1])
    except WorkerLost as error:
        print(error.exitcode, set(pmap(alive, range(4))))
print(len(caught), caught[0].message)
""")
    done = finished(["script.py"], tmp_path, PYTHONPATH=path)
    assert done.stderr == ""
    first, second, warned = done.stdout.splitlines()
    assert first == "{(True, True)} [-1]"
    assert second == "3 {(True, True)}"
    assert warned.startswith("1 workers are started as fresh interpreters and not forked")
    assert "has 2 threads" in warned


USERS: Final = """
import os
from pmap import pmap
pmap = pmap.using(processes=2, start_method={method!r})
def who(_):
    return os.getresuid(), os.getresgid(), os.getgroups()
def pid(_):
    return os.getpid()
pmap(who, range(4))
for change in (
    lambda: os.setgroups([77]),
    lambda: os.setresgid(777, 777, 777),
    lambda: os.setresuid(65534, 0, 0),
    lambda: os.setresuid(65534, 65534, 65534),
)[:{changes}]:
    change()
    there = set(map(str, pmap(who, range(4))))
    print(there == {{str(who(0))}}, set(pmap(pid, range(4))) == set(pmap(pid, range(4))))
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may")
def test_workers_are_the_users_that_the_caller_is(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    # Another user may not be able to start this Python, which may be root's alone.
    changes = 4 if start_method == "fork" else 3
    said = run_script(tmp_path, USERS.format(method=start_method, changes=changes))
    assert [line.split()[0] for line in said] == ["True"] * changes


# The worker is full. So the last calls wait in a list, from which the engine's loop takes them.
WAITING: Final = """
import os
from pmap import papply
ask = papply.using(processes=1, start_method={method!r}).async_
def who(path=None):
    if path is not None:
        open("begun", "w").close()
        while not os.path.exists(path):
            pass
    return os.getresuid(), os.getpid()
first = [ask(who, "go")] + [ask(who) for _ in range(100)]
while not os.path.exists("begun"):
    pass
os.setresuid(65534, 0, 0)
last = [ask(who) for _ in range(100)]
open("go", "w").close()
before, after = [one.get() for one in first], [one.get() for one in last]
print({{user for user, _ in after}} == {{os.getresuid()}}, before[0] not in after, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may")
def test_calls_that_wait_for_a_worker_run_as_the_user_that_asked(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    assert run_script(tmp_path, WAITING.format(method=start_method)) == ["True True"]


# Imported before: another user may not be able to read this Python's library.
STRANGERS: Final = """
import multiprocessing.pool, os, sys, time, traceback
from pmap import pmap
pmap = pmap.using(processes=1, start_method={method!r})
def run(path):
    open(path, "w").close()
    time.sleep(1000)
def ended(how):
    pending = pmap.async_(run, [how], timeout=0.5 if how == "timeout" else None)
    while not os.path.exists(how):
        time.sleep(0.01)
    os.setresuid(65534, 65534, 65534)
    if how == "cancel":
        pending.cancel()
    if how != "end":
        try:
            pending.get()
        except Exception as error:
            print(type(error).__name__, flush=True)
    print(how, flush=True)
for how in ("cancel", "timeout", "end"):
    child = os.fork()
    if child == 0:
        ended(how)
        sys.exit(0)  # which ends what it has started
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may")
def test_workers_of_another_user_are_ended_all_the_same(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    said = run_script(tmp_path, STRANGERS.format(method=start_method))
    assert said == ["CancelledError", "cancel", "TaskTimeout", "timeout", "end"]


CLOSED: Final = """
import gc, os, socket, sys
from multiprocessing import get_context
from pmap import pmap, Pool, InterruptedPoolError
pmap = pmap.using(processes=2, start_method={method!r})
pool = Pool(2, context=get_context({method!r}))
large = bytes(1 << 20)
print(pmap(abs, [-1, 2]), pool.map(len, [large, large]), pmap(lambda x: len(large) + x, [1]))
os.closerange(3, 1000)
files = [open("stranger%d" % n, "w+") for n in range(40)]
ends = [end for _ in range(20) for end in socket.socketpair()]
print(pmap(abs, [-1, 2]), pool.map(len, [large, large]), pmap(lambda x: len(large) + x, [1]))
with Pool(2, context=get_context({method!r})) as other:
    waiting = other.map_async(int, ["1", "2"] * 5)
    waiting.wait()
pool.terminate()
os.closerange(3, 20)  # some of all, and of the strangers'
print(pmap(abs, [-1, 2]))
del pool, other
gc.collect()
for number, file in enumerate(files):
    if file.fileno() >= 20:
        file.write("mine")
        file.flush()
        assert os.path.getsize("stranger%d" % number) == 4
for end in ends:
    if end.fileno() >= 20:
        end.setblocking(False)
        try:
            print("a socket was", end.recv(100))
        except BlockingIOError:
            pass
sys.stdout.flush()
os._exit(0)  # what is closed has its objects still
"""


def test_a_program_that_closes_all_its_descriptors(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    text = CLOSED.format(method=start_method)
    said = run_script(tmp_path, text)
    assert said == ["[1, 2] [1048576, 1048576] [1048577]"] * 2 + ["[1, 2]"]


LOWERED: Final = """
import os, resource
from pmap import pmap
reading, writing = os.pipe()
os.dup2(writing, 200, inheritable=True)
os.close(writing)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
def has_it(x):
    return os.path.exists("/dev/fd/200")
print(pmap(has_it, range(2), processes=2, start_method={method!r}))
"""


def test_a_limit_of_descriptors_below_those_that_there_are(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    said = run_script(tmp_path, LOWERED.format(method=start_method))
    assert said == ["[True, True]" if start_method == "fork" else "[False, False]"]


LONG: Final = """
import os, time
for number in range(15):
    os.environ[f"LONG{{number}}"] = "x" * 200_000
for number in range(4000):
    os.environ[f"MANY{{number}}"] = "x" * 1000
from pmap import pmap
pmap = pmap.using(processes=2, start_method={method!r})
def read(number):
    return len(os.environ[f"LONG{{number}}"]), len(os.environ[f"MANY{{number}}"])
print(set(pmap(read, range(15))))
def zone(_):
    return time.tzname[0], time.localtime(0).tm_hour
def other(_):
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    return zone(0)
def same():
    return pmap(zone, range(4)) == [zone(0)] * 4, zone(0)
os.environ["TZ"] = "UTC"
time.tzset()
print(*same())
os.environ["TZ"] = "Asia/Tokyo"
print(*same())
time.tzset()
print(*same())
del os.environ["TZ"]
print(*same())
os.environ["TZ"] = "UTC"
time.tzset()
print(pmap(other, range(2)), *same())
"""


def test_the_environment_of_any_size_and_the_time_zone(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    assert run_script(tmp_path, LONG.format(method=start_method)) == [
        "{(200000, 1000)}",
        "True ('UTC', 0)",
        "True ('UTC', 0)",
        "True ('JST', 9)",
        "True ('JST', 9)",
        "[('JST', 9), ('JST', 9)] True ('UTC', 0)",
    ]


SHADOWED: Final = """
import os, sys
from pmap import pmap, sync
names = {names!r}
os.mkdir("lib")
for name in names:
    with open(f"lib/{{name}}.py", "w") as file:
        file.write("WHO = 'mine'")
if {early}:
    sys.path.insert(0, os.path.abspath("lib"))
pmap = pmap.using(processes=1, start_method={method!r})
def who(name):
    return getattr(__import__(name), "WHO", None)
def fail(x):
    raise ValueError(x)
async def same(x):
    return x
print(pmap(abs, [-1], seed=3), pmap(sync(same), [1]))
sys.path.insert(0, os.path.abspath("lib"))
there = pmap(who, names)
error = pmap.collecting(fail, [1])[0].error
print(type(error).__name__, error.__traceback__.tb_frame.f_code.co_name == "fail")
print(pmap(sync(same), [1, 2]), pmap(abs, [-1], seed=3), pmap(who, names) == there)
print([(name, who(name), its) for name, its in zip(names, there) if its != who(name)])
"""


@pytest.mark.parametrize("early", [True, False])
def test_modules_with_names_of_the_standard_library(
    start_method: "StartMethod", early: bool, tmp_path: Path
) -> None:
    names = ["traceback", "linecache", "asyncio", "errno", "fcntl", "tokenize", "numbers", "cmd"]
    names += [] if early else ["types", "struct", "select", "threading", "mmap"]
    text = SHADOWED.format(names=names, method=start_method, early=early)
    if early:  # a coroutine function takes asyncio at the caller as well
        text = text.replace(", pmap(sync(same), [1]))", ")", 1)
    said = run_script(tmp_path, text)
    assert said[1:] == ["ValueError True", "[1, 2] [1] True", "[]"]
