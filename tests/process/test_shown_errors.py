"""How errors look where users see them: a script's stderr, a log, pytest, a debugger."""

import re
from pathlib import Path
from typing import Final

from tests.scripts import finished, run_script

SCRIPT: Final = """\
import sys
from pmap import pmap
import prices

def price(text):
    return prices.number(text) * 2

if len(sys.argv) > 1:
    pmap(price, ["3", "x"], **eval(sys.argv[1]))
"""

MODULE: Final = """\
def number(text):
    return float(
        text
    )
"""


def shown(folder: Path, options: str, full: str = "") -> str:
    """Return what a script that ends with an error shows on stderr."""
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "prices.py").write_text(MODULE, encoding="utf-8")
    done = finished(["script.py", options], folder, PMAP_FULL_TRACEBACK=full)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def test_a_script_shows_its_own_lines(tmp_path: Path) -> None:
    expected = (
        r"Traceback \(most recent call last\):\n"
        r'  File ".*script.py", line 9, in <module>\n'
        r'    pmap\(price, \["3", "x"\], \*\*eval\(sys.argv\[1\]\)\)\n'
        r"(?:     *[~^]+\n)?"
        r'  File ".*map.py", line \d+, in __call__\n    return .*\n'
        r"(?:     *[~^]+\n)?"
        r'  File ".*script.py", line 6, in price\n    return prices.number\(text\) \* 2\n'
        r"(?:     *[~^]+\n)?"
        r'  File ".*prices.py", line 2, in number\n    return float\((?:\n.*)*\n'
        r"ValueError: could not convert string to float: 'x'\n"
        r"pmap: item 1, price\('x'\)\n"
    )
    for options in ("{}", "dict(backend='threads')"):
        text = shown(tmp_path, options)
        assert re.fullmatch(expected, text), text
        assert text.count("  File ") == 4


def test_all_frames_with_the_variable(tmp_path: Path) -> None:
    text = shown(tmp_path, "dict(backend='serial')", "1")
    assert "in run_with" in text
    assert "in price" in text


def test_a_log_has_the_traceback(tmp_path: Path) -> None:
    script = """
import logging, sys
from pmap import pmap
logging.basicConfig(stream=sys.stdout, format="%(message)s")
def fail(x):
    return 1 / x
def log(x):
    try:
        fail(x)
    except ZeroDivisionError:
        logging.exception("in the item")
pmap(log, [0])
try:
    pmap(fail, [0])
except ZeroDivisionError:
    logging.exception("at the caller")
"""
    item, caller = "\n".join(run_script(tmp_path, script)).split("at the caller\n")
    assert item.startswith("in the item\nTraceback (most recent call last):\n")
    for text in (item, caller):
        assert "    return 1 / x\n" in text
        assert text.count("Traceback") == 1
    assert "_worker" not in item
    assert "in __call__" in caller


def test_pytest_shows_the_users_lines(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from pmap import pmap\n"
        "def inner(x):\n    return 1 / x\n"
        "def test_it():\n    pmap(inner, [1, 0])\n"
    )
    for style in ("short", "long"):
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--tb={style}", "test_it.py"]
        done = finished(command, tmp_path)
        assert done.returncode == 1, done.stderr
        assert "pmap(inner, [1, 0])" in done.stdout
        assert "return 1 / x" in done.stdout
        assert "map.py" not in done.stdout
        assert "INTERNALERROR" not in done.stdout


def test_a_debugger_after_the_error(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "prices.py").write_text(MODULE, encoding="utf-8")
    commands = "continue\nwhere\nup\nlist\nquit\nquit\n"
    done = finished(["-m", "pdb", "script.py", "{}"], tmp_path, stdin=commands)
    assert "Uncaught exception. Entering post mortem debugging" in done.stdout
    assert f"{tmp_path / 'prices.py'}(2)number()" in done.stdout
    assert "return prices.number(text) * 2" in done.stdout


def test_what_fails_nowhere_pays_nothing(tmp_path: Path) -> None:
    script = """
import sys
from pmap import pmap, pimap
calls = []
sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name))
pmap(abs, [-1, 2]), list(pimap(abs, [-1])), pmap.async_(abs, [-1]).get()
sys.setprofile(None)
print("__call__" in calls, "cut" in calls)
names = ("remote_frames", "traceback_text", "wrong_arguments", "byte_sizes")
print([name for name in sys.modules if name.startswith("pmap.") and name.endswith(names)])
def place(): return [name for name in sys.modules if name.startswith("pmap.") and "trace" in name]
print(pmap(lambda _: place(), [0]))
"""
    assert run_script(tmp_path, script) == ["True False", "[]", "[['pmap._worker.traces']]"]
