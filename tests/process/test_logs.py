"""What items log and warn of: by the caller's loggers and filters, as in a serial loop."""

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scripts import finished, program

from pmap import pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod

NAMES = ["", "tests_a", "tests_a.b", "tests_c"]


class Keeping(logging.Handler):
    """Keeps the records that come to it."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(name="kept", autouse=True)
def _kept() -> Iterator[Keeping]:
    """A handler of the root logger; afterwards all loggers are as they were."""
    handler = Keeping()
    logging.root.addHandler(handler)
    level = logging.root.level
    yield handler
    logging.root.removeHandler(handler)
    logging.root.setLevel(level)
    logging.disable(logging.NOTSET)
    for name in NAMES[1:]:
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()
        logger.filters.clear()
        logger.propagate = True
        logger.disabled = False


def log(x: int) -> int:
    logger = logging.getLogger("tests_a.b")
    logger.debug("debug %d", x)
    logger.info("info %d", x)
    logger.warning("warning %s", [x])
    return x


def texts(kept: Keeping) -> list[str]:
    return [record.getMessage() for record in kept.records]


@pytest.mark.parametrize("chunksize", [1, 4])
def test_records_come_once_and_in_order(
    chunksize: int, kept: Keeping, start_method: "StartMethod"
) -> None:
    logging.root.setLevel(logging.INFO)
    verb = pmap.using(processes=1, start_method=start_method, chunksize=chunksize)
    assert verb(log, range(4)) == [0, 1, 2, 3]
    assert texts(kept) == [text for x in range(4) for text in (f"info {x}", f"warning [{x}]")]


def test_a_record_says_where_it_is_from(kept: Keeping, start_method: "StartMethod") -> None:
    logging.root.setLevel(logging.INFO)
    pmap.using(processes=2, start_method=start_method)(log, range(10, 20), chunksize=3)
    for record in kept.records:
        facts: Any = record
        assert facts.pmap_function == "log"
        assert str(10 + facts.pmap_item) in record.getMessage()
        assert record.process != os.getpid()
        assert record.processName != "MainProcess"
        assert (record.name, record.funcName, record.module) == ("tests_a.b", "log", "test_logs")


def of_each_kind(x: int) -> float:
    logging.getLogger("tests_c").warning("%d", x)
    return x if x % 7 else x / 2  # ints for long stretches, as for typed arrays


async def waiting(x: int) -> int:
    import asyncio

    await asyncio.sleep(0)
    logging.getLogger("tests_c").warning("%d", x)
    return x


def in_a_thread(x: int) -> int:
    thread = threading.Thread(target=of_each_kind, args=[x])
    thread.start()
    thread.join()
    return x


@pytest.mark.parametrize("function", [of_each_kind, in_a_thread])
@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"timeout": 60}, {"chunksize": 1}])
def test_the_index_is_that_of_the_item(function: Any, options: Any, kept: Keeping) -> None:
    pmap(function, range(300), **options)
    found: list[Any] = kept.records
    assert sorted((int(one.getMessage()), one.pmap_item) for one in found) == [
        (x, x) for x in range(300)
    ]


def test_coroutines_know_their_index(kept: Keeping) -> None:
    from pmap import sync

    pmap(sync(waiting), range(100))
    found: list[Any] = kept.records
    assert sorted((int(one.getMessage()), one.pmap_item) for one in found) == [
        (x, x) for x in range(100)
    ]


def test_the_configuration_may_change_between_calls(
    kept: Keeping, start_method: "StartMethod"
) -> None:
    verb = pmap.using(processes=1, start_method=start_method)
    counts: list[int] = []

    def call() -> None:
        kept.records.clear()
        verb(log, [1])
        counts.append(len(kept.records))

    call()
    logging.getLogger("tests_a").setLevel(logging.DEBUG)
    call()
    logging.getLogger("tests_a.b").setLevel(logging.INFO)
    call()
    logging.disable(logging.INFO)
    call()
    logging.disable(logging.NOTSET)
    call()
    logging.getLogger("tests_a").disabled = True  # of no effect on those below it
    call()
    logging.getLogger("tests_a.b").addFilter(lambda record: record.levelno > logging.INFO)
    call()
    logging.getLogger("tests_a").propagate = False
    call()
    assert counts == [1, 3, 2, 1, 2, 2, 1, 0]


class Config(NamedTuple):
    levels: list[int]
    disabled: int
    handler: int
    propagate: list[bool]


CONFIGS = st.builds(
    Config,
    st.lists(st.sampled_from([0, 5, 10, 20, 25, 30, 40]), min_size=4, max_size=4),
    st.sampled_from([0, 0, 0, 10, 25]),
    st.sampled_from([0, 10, 25, 35]),
    st.lists(st.booleans(), min_size=4, max_size=4),
)


def log_all(_: object) -> None:
    for name in NAMES:
        for level in (5, 10, 20, 25, 30, 40):
            logging.getLogger(name).log(level, "%s at %d", name, level)


@settings(max_examples=40)
@given(st.lists(CONFIGS, min_size=1, max_size=3))
def test_what_is_handled_is_what_the_serial_loop_has_handled(configs: list[Config]) -> None:
    verb = pmap.using(processes=1)
    kept = Keeping()
    logging.root.addHandler(kept)
    try:
        for config in configs:
            for name, level, propagate in zip(NAMES, config.levels, config.propagate, strict=True):
                logging.getLogger(name).setLevel(level)
                logging.getLogger(name).propagate = propagate
            logging.disable(config.disabled)
            kept.setLevel(config.handler)
            kept.records.clear()
            log_all(0)
            want = texts(kept)
            kept.records.clear()
            verb(log_all, [0])
            assert texts(kept) == want
    finally:
        logging.root.removeHandler(kept)


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("not me")

    def __str__(self) -> str:
        return "unpicklable"


class OwnError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.first = first


def log_the_unusual(_: object) -> None:
    logger = logging.getLogger("tests_c")
    try:
        raise OwnError(1, 2)
    except OwnError:
        logger.exception("it failed", extra={"who": "me", "thing": Unpicklable()})
    logger.warning("%s", Unpicklable(), stack_info=True)
    logger.warning("%(a)s", {"a": 5})
    logger.warning(Unpicklable())
    logger.log(35, "a level of their own")
    logger.warning("%d", "no number")


def test_what_a_record_has_arrives(kept: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmap._jobs.reports._warned", set[str]())
    logging.addLevelName(35, "NOTICE")
    # pytest's own handler raises what the message with "%d" raises.
    with pytest.warns(RuntimeWarning, match=r"not be handled by all log handlers: TypeError"):
        pmap(log_the_unusual, [0])
    failed, stack, mapping, message, level, bad = kept.records
    facts: Any = failed
    assert facts.who == "me"
    assert failed.exc_info
    assert isinstance(failed.exc_info[1], OwnError)
    assert failed.exc_info[1].first == 1
    text = logging.Formatter("%(message)s").format(failed)
    assert text.startswith("it failed\nTraceback (most recent call last):\n")
    assert text.endswith("OwnError: 1 and 2")
    assert stack.stack_info
    assert stack.getMessage() == message.getMessage() == "unpicklable"
    assert mapping.getMessage() == "5"
    assert level.levelname == "NOTICE"
    with pytest.raises(TypeError):
        bad.getMessage()


class Own:
    stream = io.StringIO()


def own_handler() -> None:
    logging.basicConfig(stream=Own.stream, format="own %(message)s", level=logging.INFO, force=True)


def log_to_own(x: int) -> str:
    log(x)
    return Own.stream.getvalue()


def test_a_handler_of_the_workers_own_has_it_there(
    kept: Keeping, start_method: "StartMethod"
) -> None:
    verb = pmap.using(processes=1, start_method=start_method, initializer=own_handler)
    assert verb(log_to_own, [1]) == ["own info 1\nown warning [1]\n"]
    assert not kept.records


def test_logs_may_stay_where_they_are(
    kept: Keeping, start_method: "StartMethod", capsys: pytest.CaptureFixture[str]
) -> None:
    verb = pmap.using(processes=1, start_method=start_method)
    verb(log, [1], logs=False)
    assert not kept.records
    assert capsys.readouterr().err == "warning [1]\n"
    verb(log, [1])
    assert texts(kept) == ["warning [1]"]


def log_and_end(x: int) -> int:
    log(x)
    if x == 3:
        os._exit(1)
    return x


def test_records_outlive_their_worker(kept: Keeping, start_method: "StartMethod") -> None:
    verb = pmap.using(processes=1, start_method=start_method).collecting
    verb(log_and_end, range(6), chunksize=6)
    assert texts(kept) == [f"warning [{x}]" for x in range(6)]


def log_it() -> None:
    log(7)


def test_records_of_initializers_come_too(kept: Keeping, start_method: "StartMethod") -> None:
    pmap.using(processes=1, start_method=start_method, initializer=log_it)(abs, [1])
    assert texts(kept) == ["warning [7]"]


class Calling(logging.Handler):
    """A handler that itself maps."""

    results: ClassVar[list[list[int]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.results.append(pmap(abs, [-1, -2]))


def test_a_handler_may_use_the_pool() -> None:
    handler = Calling()
    logging.getLogger("tests_a").addHandler(handler)
    assert pmap(log, range(3)) == [0, 1, 2]
    assert handler.results == [[1, 2]] * 3


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit(3)


def test_a_handler_that_fails_costs_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmap._jobs.reports._warned", set[str]())
    logging.getLogger("tests_a").addHandler(Failing())
    with pytest.warns(RuntimeWarning, match=r"not be handled by all log handlers: SystemExit\(3\)"):
        assert pmap(log, range(3)) == [0, 1, 2]


def test_a_script_of_the_usual_kind(start_method: "StartMethod", tmp_path: Path) -> None:
    body = """
import logging, warnings
class Mine(UserWarning): pass
def work(x):
    logging.info("working on %d", x)
    warnings.warn(Mine("mind"))
    return x
logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(processName).4s %(message)s")
print(pmap(work, range(3)))
logging.captureWarnings(True)
print(pmap(work, [7]))
logging.captureWarnings(False)
warnings.simplefilter("ignore", Mine)
print(pmap(work, [8]))
warnings.simplefilter("error", Mine)
try: pmap(work, [9])
except Mine as error: print("raised", error)
"""
    (tmp_path / "script.py").write_text(program(start_method, body))
    done = finished(["script.py"], tmp_path)
    assert done.stdout == "[0, 1, 2]\n[7]\n[8]\nraised mind\n", done.stderr
    lines = sorted(line for line in done.stderr.splitlines() if "warnings.warn" not in line)
    assert lines.pop(0).endswith("script.py:11: Mine: mind")
    assert lines == [f"INFO pmap working on {x}" for x in (0, 1, 2, 7, 8, 9)]


# --- warnings -------------------------------------------------------------------------------------


class OwnWarning(UserWarning):
    pass


def warn(x: int) -> int:
    warnings.warn(f"user {x % 2}", UserWarning, stacklevel=1)
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    warnings.warn("own", OwnWarning, stacklevel=1)
    return x


Seen = list[tuple[str, type, int]]


def seen_with(filters: list[tuple[Any, type[Warning]]], run: Any) -> Seen | str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for action, category in filters:
            warnings.simplefilter(action, category)
        try:
            run()
        except Warning as error:
            return repr(error)
    return [(str(one.message), one.category, one.lineno) for one in of_items(caught)]


def of_items(caught: list[warnings.WarningMessage]) -> list[warnings.WarningMessage]:
    """Return what items have warned of: Python 3.12 does so of a fork of a process with threads."""
    return [one for one in caught if "multi-threaded" not in str(one.message)]


ACTIONS = st.sampled_from(["error", "ignore", "always", "default", "module", "once"])
FILTERS = st.lists(
    st.tuples(ACTIONS, st.sampled_from([Warning, UserWarning, DeprecationWarning, OwnWarning])),
    max_size=3,
)


@settings(max_examples=80)
@given(FILTERS, st.integers(1, 4))
def test_warnings_are_as_in_the_serial_loop(filters: Any, count: int) -> None:
    want = seen_with(filters, lambda: [warn(x) for x in range(count)])
    _forget()
    verb = pmap.using(processes=1)
    got = seen_with(filters, lambda: verb(warn, range(count), chunksize=2))
    _forget()
    assert got == want


def _forget() -> None:
    """Forget what was shown once: one list for all of a process."""
    registry: Any = warnings
    registry.onceregistry.clear()


def test_they_are_shown_where_the_caller_says(start_method: "StartMethod") -> None:
    verb = pmap.using(processes=2, start_method=start_method)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            verb(warn, range(20), chunksize=2)
        caught = of_items(caught)
        assert sorted(str(one.message) for one in caught) == [
            "deprecated",
            "own",
            "user 0",
            "user 1",
        ]
        assert {one.filename for one in caught} == {__file__}


def test_what_an_initializer_filters_stays_filtered(start_method: "StartMethod") -> None:
    verb = pmap.using(processes=1, start_method=start_method, initializer=_ignore_all)
    for action in ("always", "error"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            assert verb(warn, range(3)) == [0, 1, 2]
        assert not of_items(caught)


def _ignore_all() -> None:
    warnings.filterwarnings("ignore")


def catch(x: int) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(x)
    return len(caught)


def test_an_item_may_catch_its_own(start_method: "StartMethod") -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pmap.using(start_method=start_method)(catch, range(3)) == [3, 3, 3]
    assert not of_items(caught)


def test_they_are_shown_of_code_without_a_file() -> None:
    names: dict[str, Any] = {}
    code = "import warnings\ndef of_no_file(x): warnings.warn(f'mind {x}'); return x"
    exec(compile(code, "<cell 5>", "exec"), names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        pmap(names["of_no_file"], range(2))
    assert sorted((one.filename, str(one.message)) for one in caught) == [
        ("<cell 5>", "mind 0"),
        ("<cell 5>", "mind 1"),
    ]
