"""The page of common mistakes: each mistake is made, and the message is that of the page."""

import doctest
import json
import re
from pathlib import Path
from typing import Final

import pytest
from tests.scripts import run

PAGE: Final = Path(__file__).parents[2] / "docs" / "howto" / "mistakes.md"
TEXT: Final = PAGE.read_text("utf-8")
# A mistake is code that ends a line; the message is in the block behind it.
MISTAKES: Final[dict[str, str]] = dict(
    re.findall(r"`([^`\n]+)`\n\n```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
)
FLAGS: Final = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# Behind the names of the page: makes the mistakes, as a program that its user runs.
PROGRAM: Final = """
import json
import traceback
import warnings

table = list(range(200_000)) + [b"x" * 1_000_000 + b"%d" % n for n in range(49)]


def said_by(code):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            eval(code)
        except BaseException as error:
            return "".join(traceback.format_exception_only(error))
    return "".join(f"{one.category.__name__}: {one.message}\\n" for one in caught)


print(json.dumps({code: said_by(code) for code in MISTAKES}))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what each mistake says: all are made in one process."""
    names = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[0]
    folder = tmp_path_factory.mktemp("mistakes")
    script = folder / "script.py"
    script.write_text(f"{names}\nMISTAKES = {list(MISTAKES)!r}\n{PROGRAM}")
    texts: dict[str, str] = json.loads(run([str(script)], folder).splitlines()[-1])

    return texts


def test_the_page_has_each_of_the_mistakes() -> None:
    assert len(MISTAKES) == TEXT.count("```text") == 21


@pytest.mark.parametrize("code", MISTAKES)
def test_the_message_is_that_of_the_page(code: str, said: dict[str, str]) -> None:
    # Python 3.15 has other words for this.
    text = said[code].replace("Value after *", "abs() argument after *")
    if not doctest.OutputChecker().check_output(MISTAKES[code], text, FLAGS):
        raise AssertionError(f"{code} says\n{text}\nand not\n{MISTAKES[code]}")
