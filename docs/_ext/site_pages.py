"""What the site does with the pages beyond what they say on the forge.

- A table between ``<!-- measured: NAME -->`` and ``<!-- end -->`` is measured at build time.
- A link that leaves `docs/` leads to the forge.
- A name in a docstring leads to its place in the reference, an option to the page of options.
- The list of options, which ``help`` shows with each verb, stands on the page of options only.
- A pattern of pages in the table of contents is left out where there is no such page.
"""

import builtins
import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import pmap

DOCS: Final = Path(__file__).parents[1]
FORGE: Final = "https://github.com/pmap-dev/typed-pmap"
MEASURED: Final = re.compile(r"<!-- measured: ([\w-]+) -->\n(.*?)<!-- end -->\n", re.DOTALL)
LINK: Final = re.compile(r"\]\((\.\.?/[^)#\s]*)(#[^)\s]*)?\)")
PATTERN: Final = re.compile(r"^([\w/]+\*)\n", re.MULTILINE)  # of pages, in a table of contents
VERBS: Final = {"pmap": "Map", "pstarmap": "StarMap", "papply": "Apply", "pcall": "Calls"}
OPTIONS: Final = frozenset(pmap.Options.__annotations__)


def measured(name: str) -> str:
    """Return the table of this name, measured now in a process of its own."""
    command = [sys.executable, str(DOCS / "_ext" / "measured.py"), name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def outside(page: Path, target: str) -> str | None:
    """Return where on the forge the target of a link is; None if it is a page of the site."""
    path = (page.parent / target).resolve()
    if path.is_relative_to(DOCS):
        return None
    kind = "tree" if path.is_dir() else "blob"
    return f"{FORGE}/{kind}/main/{path.relative_to(DOCS.parent).as_posix()}"


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Put measured tables into the page, and lead its links out of the site to the forge."""
    page = Path(str(app.env.doc2path(name)))
    text = MEASURED.sub(lambda found: measured(found[1]), source[0])

    def led(found: re.Match[str]) -> str:
        target = outside(page, found[1])
        return f"]({target}{found[2] or ''})" if target else found[0]

    text = LINK.sub(led, text)
    if name == app.config.root_doc:
        text = PATTERN.sub(lambda found: found[0] if any(DOCS.glob(f"{found[1]}.md")) else "", text)
    source[0] = text


def missing_reference(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.Element | None:
    """Return what a name leads to that is no object of the reference; None if it is a mistake."""
    target: str = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    verb, _, form = target.removeprefix("pmap.").partition(".")
    if verb not in VERBS and target.startswith("pmap."):
        verb, form = "pmap", verb
    if form and hasattr(getattr(pmap, VERBS.get(verb, ""), None), form):
        of_class = f"pmap.{VERBS[verb]}.{form}"
        return env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, "obj", of_class, node, shown
        )
    if target in OPTIONS:
        return link_to_option(app, node["refdoc"], target, shown)
    if hasattr(builtins, target.partition(".")[0]) or of_the_standard_library(target):
        return shown
    # What else a docstring puts in backticks is a parameter; a class of pmap's begins in capitals.
    if node.get("reftype") == "obj" and re.fullmatch(r"[a-z]\w*", target):
        return shown if not hasattr(pmap, target) else None
    return None


def link_to_option(app: Sphinx, page: str, name: str, shown: nodes.TextElement) -> nodes.Element:
    """Return a link to the section of the option."""
    uri = app.builder.get_relative_uri(page, "reference/options") + "#" + name.replace("_", "-")
    return nodes.reference("", "", shown, internal=True, refuri=uri)


def of_the_standard_library(target: str) -> bool:
    """Return whether the name is one of Python's own library."""
    module, _, name = target.rpartition(".")
    if target.partition(".")[0] not in sys.stdlib_module_names:
        return False
    return not module or hasattr(importlib.import_module(module), name)


def without_options(
    app: Sphinx, kind: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Cut the list of options from the docstring of a verb."""
    del app, kind, name, obj, options
    for place, line in enumerate(lines):
        if line.strip() in ("Options:", "Options"):
            del lines[place:]
            lines += ["", "The options are listed and explained in :doc:`options`.", ""]
            return


def whole_sentence(
    app: Sphinx, kind: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Put the first sentence of a property together again, which was taken for a type and a text.

    Napoleon does so where that sentence has a colon.
    """
    del app, name, obj, options
    types = [line for line in lines if kind == "property" and line.startswith(":type: ")]
    for line in types:
        lines.remove(line)
        lines[0] = f"{line.removeprefix(':type: ')}: {lines[0]}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the parts with what the builder does."""
    app.connect("source-read", read_page)
    app.connect("missing-reference", missing_reference)
    app.connect("autodoc-process-docstring", without_options, priority=100)
    app.connect("autodoc-process-docstring", whole_sentence, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
