"""Settings of interpreter and process: as at the caller, and put back."""

import decimal
import locale
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import pytest
from tests.scripts import program, run_script

import pmap as library
from pmap import Pool, pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod


class Seen(NamedTuple):
    recursion: int
    digits: int
    umask: int
    locale: str
    third: str
    division: str


def seen(_: object = None) -> Seen:
    umask = os.umask(0)
    os.umask(umask)
    with np.errstate(over="ignore"):  # it goes by the context, and not by what is imported first
        try:
            division = str(np.float64(1) / np.float64(0))
        except FloatingPointError:
            division = "raised"
    return Seen(
        sys.getrecursionlimit(),
        sys.get_int_max_str_digits(),
        umask,
        locale.setlocale(locale.LC_ALL),
        str(decimal.Decimal(1) / 3),
        division,
    )


def change_all(_: object) -> None:
    sys.set_int_max_str_digits(800)
    os.umask(0o011)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    sys.setrecursionlimit(500)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with decimal.localcontext(), np.errstate(divide="ignore"):
        before = seen()
        yield
    sys.setrecursionlimit(before.recursion)
    sys.set_int_max_str_digits(before.digits)
    os.umask(before.umask)
    locale.setlocale(locale.LC_ALL, before.locale)


CHANGES: list[Callable[[], object]] = [
    lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 123),
    lambda: sys.set_int_max_str_digits(5555),
    lambda: locale.setlocale(locale.LC_ALL, "C"),
    lambda: setattr(decimal.getcontext(), "prec", 5),
    lambda: np.seterr(divide="raise"),
]


def test_they_are_the_callers(start_method: "StartMethod") -> None:
    verb = pmap.using(processes=1, start_method=start_method)
    assert verb(seen, [1]) == [seen()]
    for change in CHANGES:
        before = seen()
        change()
        assert seen() != before
        assert verb(seen, [1]) == [seen()]
    with decimal.localcontext() as context, np.errstate(divide="ignore"):
        context.prec = 7
        assert verb(seen, [1]) == [seen()]
    assert verb(seen, [1]) == [seen()]


LIMITS: Final = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_FSIZE", "RLIMIT_NOFILE")


def limits_and_lower(number: int) -> list[tuple[int, int]]:
    """Return the limits of this process; then lower two of them, each in another way."""
    import resource

    numbers: list[int] = [getattr(resource, name) for name in LIMITS]
    found = [resource.getrlimit(one) for one in numbers]
    if number % 2:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    elif sys.platform == "linux":
        resource.prlimit(0, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        resource.prlimit(0, resource.RLIMIT_AS, (1 << 44, resource.RLIM_INFINITY))
    return found


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such limits")
@pytest.mark.parametrize("chunksize", [1, 6])
def test_limits_of_an_item_end_with_it(start_method: "StartMethod", chunksize: int) -> None:
    verb = pmap.using(processes=1, start_method=start_method, chunksize=chunksize)
    first, *others = verb(limits_and_lower, range(6))
    assert others == [first] * 5
    assert verb(str, [1]) == ["1"]


# In a program of its own: pytest-xdist has a thread, and a new umask is not seen where there are
# threads besides those of pools that have nothing to do.
UMASK: Final = """
    def umask(_=None):
        before = os.umask(0)
        os.umask(before)
        return before

    for new in (umask(), *[0o027, 0o011] * 20):
        os.umask(new)
        assert pmap(umask, range(3)) == [new] * 3
        assert umask() == new
    print("as it was set")
"""


def test_the_umask_is_the_callers(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, program(start_method, UMASK)) == ["as it was set"]


def test_they_are_put_back(start_method: "StartMethod") -> None:
    verb = pmap.using(processes=1, start_method=start_method, chunksize=1)
    before = seen()
    verb(change_all, [1])
    assert verb(seen, [1]) == [before] == [seen()]


# Set by items, and by initializers.
NOTE: ContextVar[str] = ContextVar("NOTE", default="none")
OTHER: ContextVar[str] = ContextVar("OTHER", default="none")
Noted: TypeAlias = tuple[str, str, int, str]


def note_all(note: str, other: str, digits: int, divide: Literal["raise", "ignore"]) -> None:
    NOTE.set(note)
    OTHER.set(other)
    decimal.getcontext().prec = digits
    np.seterr(divide=divide)


def noted(_: object = None) -> Noted:
    return NOTE.get(), OTHER.get(), decimal.getcontext().prec, np.geterr()["divide"]


def note_more(number: int) -> Noted:
    before = noted()
    note_all("item", "item", 3 + number, "ignore")
    return before


@pytest.mark.parametrize("initialized", [False, True])
@pytest.mark.parametrize("has_own", [False, True])
def test_context_variables_are_the_callers_or_those_of_the_initializer(
    start_method: "StartMethod", initialized: bool, has_own: bool
) -> None:
    """And never those that an item has left."""
    begin = pmap.using(processes=1, start_method=start_method, chunksize=1)
    if initialized:
        begin = begin.using(initializer=note_all, initargs=("first", "first", 9, "raise"))

    def ask() -> list[Noted]:
        if has_own:
            NOTE.set("caller")
        return begin(note_more, range(3))

    expected = ("first", "first", 9, "raise") if initialized else Context().run(noted)
    for _ in range(2):
        got = Context().run(ask)
        assert got == [("caller", *expected[1:]) if has_own else expected] * 3


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_in_this_process_they_are_its_own(backend: Literal["threads", "serial"]) -> None:
    decimal.getcontext().prec = 5
    np.seterr(divide="raise")
    assert pmap(seen, [1], backend=backend) == [seen()]


def test_a_limit_that_the_initializer_raises_stays() -> None:
    with Pool(1, sys.setrecursionlimit, (7000,)) as pool:
        for _ in range(2):
            assert [one.recursion for one in pool.map(seen, [1])] == [7000]


# In a program of its own: some of these cannot be put back, and pytest depends on others.
PROCESS: Final = """
    import csv, gc, multiprocessing, os, socket, sys, tracemalloc
    import decimal
    import resource

    def limits():
        return [resource.getrlimit(one) for one in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)]

    def lower(which, value):
        resource.setrlimit(which, (value, resource.getrlimit(which)[1]))

    def dialects():
        given = [csv.get_dialect(name) for name in csv.list_dialects()]
        return sorted([(each.delimiter, each.quoting, each.lineterminator) for each in given])

    def decimals():
        made = decimal.DefaultContext.copy()
        return made.prec, made.rounding, sorted([str(key) for key, on in made.traps.items() if on])

    def use_context():
        decimal.DefaultContext.prec = 11
        decimal.setcontext(decimal.DefaultContext)

    # Each setting: how it is read, how it is changed, how it is changed again.
    SETTINGS = {
        "argv": (lambda: sys.argv, lambda: sys.argv.append("one"), lambda: sys.argv.pop()),
        "switches": (sys.getswitchinterval, lambda: sys.setswitchinterval(0.5),
            lambda: sys.setswitchinterval(0.25)),
        "collector": (gc.isenabled, gc.disable, gc.enable),
        "threshold": (gc.get_threshold, lambda: gc.set_threshold(9, 8, 7),
            lambda: gc.set_threshold(700, 10, 10)),
        "sockets": (socket.getdefaulttimeout, lambda: socket.setdefaulttimeout(7.5),
            lambda: socket.setdefaulttimeout(None)),
        "fields": (csv.field_size_limit, lambda: csv.field_size_limit(999),
            lambda: csv.field_size_limit(131072)),
        "traced": (tracemalloc.is_tracing, tracemalloc.start, tracemalloc.stop),
        "prefix": (lambda: sys.pycache_prefix, lambda: setattr(sys, "pycache_prefix", "elsewhere"),
            lambda: setattr(sys, "pycache_prefix", None)),
        "bytecode": (lambda: sys.dont_write_bytecode,
            lambda: setattr(sys, "dont_write_bytecode", False),
            lambda: setattr(sys, "dont_write_bytecode", True)),
        "origins": (sys.get_coroutine_origin_tracking_depth,
            lambda: sys.set_coroutine_origin_tracking_depth(3),
            lambda: sys.set_coroutine_origin_tracking_depth(0)),
        "method": (multiprocessing.get_start_method,
            lambda: multiprocessing.set_start_method("spawn", force=True),
            lambda: multiprocessing.set_start_method("forkserver", force=True)),
        "limits": (limits, lambda: lower(resource.RLIMIT_NOFILE, 512),
            lambda: lower(resource.RLIMIT_FSIZE, 1 << 30)),
        "nice": (lambda: os.nice(0), lambda: os.nice(1), lambda: os.nice(1)),
        "dialects": (dialects, lambda: csv.register_dialect("ours", delimiter=";", quoting=3),
            lambda: csv.register_dialect("ours", csv.excel_tab)),
        "no dialect": (dialects, lambda: csv.register_dialect("other", "unix"),
            lambda: csv.unregister_dialect("other")),
        "decimals to come": (decimals, lambda: setattr(decimal.DefaultContext, "prec", 9),
            lambda: decimal.DefaultContext.traps.update({decimal.Inexact: True})),
        "decimals": (lambda: str(decimal.Decimal(1) / 3), use_context,
            lambda: setattr(decimal.getcontext(), "prec", 5)),
    }

    def read(name):
        found = SETTINGS[name][0]()
        return list(found) if isinstance(found, list) else found

    def init():
        sys.setswitchinterval(0.75)
        socket.setdefaulttimeout(1.5)
        csv.register_dialect("initial", delimiter="!")

    one = pmap.using(processes=1)
    one(read, SETTINGS)
    for step in (1, 2):
        for name, how in SETTINGS.items():
            before = read(name)
            how[step]()
            assert read(name) != before or name == "bytecode", name
            assert one(read, [name]) == [read(name)], (name, one(read, [name]), read(name))
    started = pmap.using(processes=1, initializer=init)
    assert started(read, ["switches", "sockets", "fields"]) == [0.75, 1.5, 131072]
    csv.field_size_limit(555)
    assert started(read, ["switches", "sockets", "fields"]) == [0.75, 1.5, 555]
    sys.setswitchinterval(0.125)
    assert started(read, ["switches", "sockets", "fields"]) == [0.125, 1.5, 555]
    csv.register_dialect("late", delimiter=":")
    assert {"initial", "late"} < set(started(lambda _: csv.list_dialects(), [1])[0])
    print("as they were set")
"""

# A context for decimals is made when it is first asked for, in each thread.
DECIMALS: Final = """
    import decimal
    decimal.DefaultContext.prec = 6
    decimal.DefaultContext.traps[decimal.DivisionByZero] = False
    def divided(x):
        return str(decimal.Decimal(x) / 3), str(decimal.Decimal(x) / 0)
    print(pmap(divided, [1]), divided(1))
"""


def test_the_context_that_new_threads_begin_with(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    (line,) = run_script(tmp_path, program(start_method, DECIMALS))
    assert line == "[('0.333333', 'Infinity')] ('0.333333', 'Infinity')"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no module resource")
def test_those_of_the_process_are_the_callers(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, program(start_method, PROCESS)) == ["as they were set"]


def hashed(text: str) -> tuple[int, int, str | None]:
    return os.getpid(), hash(text), os.environ.get("PYTHONHASHSEED")


def test_all_workers_hash_alike(start_method: "StartMethod") -> None:
    verb = library.papply.using(isolate=True, start_method=start_method)
    found = [verb(hashed, "text") for _ in range(3)]
    assert len({pid for pid, _, _ in found}) == 3
    assert len({value for _, value, _ in found}) == 1
    assert {seed for _, _, seed in found} == {os.environ.get("PYTHONHASHSEED")}
