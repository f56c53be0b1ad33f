"""One word for a thing: words that stood for a term of the field do not come back."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TOP: Final = Path(__file__).parents[1]

# The old word, as it begins a part of a name or stands in a text, and the term in its place.
TERMS: Final = {
    "arena": "result journal",
    "bell": "notifier",
    "books": "state, or its lock",
    "brief": "call spec",
    "briefs": "call specs",
    "cargo": "attachments",
    "hungry": "below its target",
    "lane": "typed array",
    "lanes": "typed arrays",
    "loans": "lent segments",
    "patience": "adaptive spin; in tests: time limit",
    "shelf": "free segments",
    "torn": "poisoned, or half written",
    "worn": "to be replaced",
}
# Whose own word it is: `multiprocessing.heap.Arena` travels to workers there.
OF_OTHERS: Final = {("src/pmap/_transport/by_value/handover.py", "arena")}
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and each word of the names, comments and texts of a Python file."""
    with tokenize.open(path) as file:
        source = file.read()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.COMMENT, tokenize.STRING):
            for part in _PART.findall(token.string):
                yield token.start[0], part.lower()


def old_words(path: Path) -> list[str]:
    """Return what a Python file has of the old words, with line and term."""
    return [
        f"{path.relative_to(TOP)}:{line}: {word}: say {TERMS[word]}"
        for line, word in words_of(path)
        if word in TERMS and (str(path.relative_to(TOP)), word) not in OF_OTHERS
    ]


def test_the_check_sees_names_comments_and_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.test_words.TOP", tmp_path)
    path = tmp_path / "m.py"
    path.write_text('class ShelfLife:\n    # worn\n    _arena = "a bell"\n    belle = "briefly"\n')
    assert [found.rpartition(": say ")[0] for found in old_words(path)] == [
        "m.py:1: shelf",
        "m.py:2: worn",
        "m.py:3: arena",
        "m.py:3: bell",
    ]


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples"])
def test_no_old_word_comes_back(folder: str) -> None:
    files = [path for path in (TOP / folder).rglob("*.py") if path.name != "test_words.py"]
    assert files
    assert [found for path in files for found in old_words(path)] == []


def test_no_old_word_stands_in_the_pages() -> None:
    pages = [*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md")]
    assert pages
    found = [
        f"{page.relative_to(TOP)}: {word}: say {TERMS[word]}"
        for page in pages
        # The first says what was when it was so; the second becomes pages of their own.
        if page.name not in ("CHANGELOG.md", "design.md")
        for word in map(str.lower, re.findall(r"[A-Za-z]+", page.read_text(encoding="utf-8")))
        if word in TERMS
    ]
    assert found == []
