"""Runs cells in a real Jupyter kernel, in a process of its own: see `test_notebook`."""

import importlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# No checker has it: it is not in the `test` extra.
jupyter_client: Any = importlib.import_module("jupyter_client")

TIME_LIMIT: Final = 60  # seconds
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class Notebook:
    """A kernel, and what its cells say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manager = jupyter_client.KernelManager(kernel_name="python3")
        environment = {**os.environ, "IPYTHONDIR": str(folder), "JUPYTER_DATA_DIR": str(folder)}
        self.manager.start_kernel(cwd=str(folder), env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIME_LIMIT)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str, on_text: Callable[[str], object] = lambda _: None) -> dict[str, str]:
        """Run a cell; return what it says: its output, by kind of stream, result or error."""
        said: dict[str, str] = {}

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            for kind, text in (
                (content.get("name"), content.get("text")),
                ("result", content.get("data", {}).get("text/plain")),
                (content.get("ename"), content.get("evalue")),
                ("traceback", "\n".join(content.get("traceback", ())) or None),
            ):
                if kind is not None and text is not None:
                    said[kind] = said.get(kind, "") + _COLOURS.sub("", text)
            on_text(content.get("text", ""))

        # Only what says that it belongs to this cell.
        self.client.execute_interactive(code, output_hook=take, timeout=TIME_LIMIT)
        return said


def cells_are_defined_anew(notebook: Notebook) -> None:
    define = "K = 10\ndef helper(x): return x + K\ndef work(x): return helper(x)"
    assert notebook.run(define) == {}
    assert notebook.run("pmap(work, range(3))") == {"result": "[10, 11, 12]"}
    assert notebook.run("K = 20\npmap(work, range(3))") == {"result": "[20, 21, 22]"}
    assert notebook.run("def helper(x): return -x") == {}
    assert notebook.run("pmap(work, range(3))") == {"result": "[0, -1, -2]"}
    assert notebook.run("class Point:\n    def __init__(self, x): self.x = x") == {}
    cell = "made = pmap(Point, [1, 2])\n[type(p) is Point for p in made], [p.x for p in made]"
    assert notebook.run(cell) == {"result": "([True, True], [1, 2])"}
    cell = "with Pool(1) as pool:\n    print(pool.map(lambda p: p.x, made))"
    assert notebook.run(cell) == {"stdout": "[1, 2]\n"}


def an_edit_under_autoreload(notebook: Notebook) -> None:
    module = notebook.folder / "edited.py"
    module.write_text("def f(x): return 'old'\n")
    os.utime(module, (1, 1))
    assert notebook.run("%load_ext autoreload\n%autoreload 2\nimport edited") == {}
    assert notebook.run("pmap(edited.f, [1]), pmap(lambda x: edited.f(x), [1])") == {
        "result": "(['old'], ['old'])"
    }
    module.write_text("def f(x): return 'new'\n")
    os.utime(module, (2, 2))
    assert notebook.run("pmap(edited.f, [1]), pmap(lambda x: edited.f(x), [1])") == {
        "result": "(['new'], ['new'])"
    }
    assert notebook.run("%autoreload 0") == {}


def output_is_in_the_cell_that_asked(notebook: Notebook) -> None:
    define = """
def says(x):
    print("item", x)
    print("aside", x, file=sys.stderr)
    return x
"""
    assert notebook.run(define) == {}
    for number in range(2):
        said = notebook.run(f"_ = pmap(says, [{number}])")
        assert said == {"stdout": f"item {number}\n", "stderr": f"aside {number}\n"}
    assert notebook.run("1 + 1") == {"result": "2"}


def a_warning_is_in_the_cell(notebook: Notebook) -> None:
    assert notebook.run("def warns(x): warnings.warn(f'careful with {x}')") == {}
    said = notebook.run("_ = pmap(warns, [7])")
    assert list(said) == ["stderr"]
    assert "UserWarning: careful with 7" in said["stderr"]


def an_interrupt_ends_the_call(notebook: Notebook) -> None:
    define = """
import threading
def waits(x):
    print("begun")
    threading.Event().wait()
"""
    assert notebook.run(define) == {}

    def interrupt(text: str) -> None:
        if "begun" in text:
            notebook.manager.interrupt_kernel()

    # A cell that awaits is another matter: ipykernel 7 does not interrupt a bare `asyncio.sleep`.
    said = notebook.run("pmap(waits, [1])", interrupt)
    assert said["stdout"] == "begun\n"
    assert "KeyboardInterrupt" in said
    assert "1 pmap(waits, [1])" in said["traceback"]
    assert "selectors" not in said["traceback"]
    assert notebook.run("pmap(abs, [-1])") == {"result": "[1]"}


def an_error_says_which_item(notebook: Notebook) -> None:
    said = notebook.run("def fails(x): raise ValueError(f'bad {x}')\npmap(fails, [3])")
    assert (said["ValueError"], len(said)) == ("bad 3", 2)
    assert said["traceback"].endswith("ValueError: bad 3\npmap: item 0, fails(3)")


def an_error_shows_the_lines_of_the_cells(notebook: Notebook) -> None:
    define = "def inner(x):\n    y = x - 3\n    return 1 / y\ndef outer(x):\n    return inner(x)"
    assert notebook.run(define) == {}
    for call in (
        "pmap(outer, [4, 3])",
        "pmap(outer, [4, 3], backend='threads')",
        "await pmap.async_(outer, [4, 3])",
        "list(pmap.iter(outer, [4, 3]))",
    ):
        shown = notebook.run(call)["traceback"]
        arrows = re.findall(r"^-+> \d+ (.*)$", shown, re.MULTILINE)
        assert [line.strip() for line in arrows] == [call, "return inner(x)", "return 1 / y"], shown
        assert "map.py" not in shown
        assert "result" not in shown
        assert shown.count("Traceback (most recent call last)") == 1
    assert notebook.run("import os; os.environ['PMAP_FULL_TRACEBACK'] = '1'") == {}
    assert "map.py" in notebook.run("pmap(outer, [4, 3])")["traceback"]
    assert notebook.run("del os.environ['PMAP_FULL_TRACEBACK']") == {}


def a_log_shows_the_lines_of_the_cells(notebook: Notebook) -> None:
    define = """
def logs(x):
    try:
        return outer(x)
    except ZeroDivisionError:
        logging.exception("it failed")
"""
    assert notebook.run(f"import logging{define}") == {}
    said = notebook.run("_ = pmap(logs, [3])")
    assert "it failed" in said["stderr"]
    assert "    return inner(x)\n" in said["stderr"]


def a_cell_awaits(notebook: Notebook) -> None:
    assert notebook.run("await pmap.async_(abs, [-1, 2])") == {"result": "[1, 2]"}
    cell = "[x async for x in pmap.iter(abs, [-1, 2])]"
    assert notebook.run(cell) == {"result": "[1, 2]"}
    cell = """
import asyncio
ran = []
async def beside():
    ran.append(await asyncio.sleep(0, "beside"))
task = asyncio.create_task(beside())
print(await pmap.async_(abs, [-3]), ran)
"""
    assert notebook.run(cell) == {"stdout": "[3] ['beside']\n"}


def a_bar_is_in_the_cell(notebook: Notebook) -> None:
    said = notebook.run("_ = pmap(abs, range(-20, 0), progress='the label')")
    bar = said.get("stderr", "") + said.get("result", "")
    assert "the label" in bar
    assert "20/20" in bar or "HBox" in bar, said


def main(folder: Path) -> None:
    """Run all of them in one kernel: it takes a second to start."""
    notebook = Notebook(folder)
    try:
        assert notebook.run("from pmap import pmap, Pool; import sys, warnings") == {}
        cells_are_defined_anew(notebook)
        an_edit_under_autoreload(notebook)
        output_is_in_the_cell_that_asked(notebook)
        a_warning_is_in_the_cell(notebook)
        an_error_says_which_item(notebook)
        an_error_shows_the_lines_of_the_cells(notebook)
        a_log_shows_the_lines_of_the_cells(notebook)
        a_cell_awaits(notebook)
        a_bar_is_in_the_cell(notebook)
        an_interrupt_ends_the_call(notebook)
    finally:
        notebook.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    print("done")
