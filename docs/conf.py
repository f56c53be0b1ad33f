"""How the documentation site is built: ``nox -s docs``.

The pages are plain Markdown, to be read on the forge as well. What only the site can do is in
`_ext`: it measures the tables of the tutorial, and it leads links that leave this folder to the
forge.
"""

import sys
from pathlib import Path

import pmap

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

project = "pmap"
author = "pmap contributors"
project_copyright = "pmap contributors"
version = release = pmap.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
    "site_pages",
]
exclude_patterns = ["_build"]

# -- Markdown --------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3  # the anchors that the forge gives headings, for links to a section
myst_fence_as_directive = ["mermaid"]  # which is how the forge writes a diagram, too

highlight_language = "text"  # where a block says none

# -- The reference ---------------------------------------------------------------------------------

default_role = "py:obj"  # what docstrings put in single backticks: a name of pmap's, or a parameter
add_module_names = False
autodoc_member_order = "bysource"
# Else the overloads of a verb are listed, of which no reader wants to see six.
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
maximum_signature_line_length = 80
nitpicky = True
nitpick_ignore = [
    ("py:exc", "BrokenProcessPool"),  # of the standard library, named without its module
    ("py:obj", "Fail_co"),  # a type variable
    ("py:class", "pmap._types.GivenPool"),  # a Pool, as the options see it
    ("py:class", "pmap._types.GivenCheckpoint"),  # a Checkpoint, as the options see it
]

# -- Looks -----------------------------------------------------------------------------------------

mermaid_fullscreen = False
html_theme = "furo"
pygments_dark_style = "monokai"
html_title = f"pmap {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "source_repository": "https://github.com/pmap-dev/typed-pmap/",
    "source_branch": "main",
    "source_directory": "docs/",
}
