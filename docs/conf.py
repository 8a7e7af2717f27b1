"""Sphinx configuration: pages in MyST Markdown, formulas as MathML, reference from the code."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

sys.path.insert(0, str(Path(__file__).parent))

import generate
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

import vaexprs

project = "vaexprs"
author = "the vaexprs developers"
version = release = vaexprs.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["package.md", "build"]
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings: list[str] = []

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_mock_imports: list[str] = []
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"

# Furo: one column of text with its contents beside it, light and dark by the reader's system,
# readable on a phone, and no script or font from elsewhere.
html_theme = "furo"
html_title = "vaexprs"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_show_sphinx = False
html_math_renderer = "mathml"
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"


def _formula(translator: HTML5Translator, node: nodes.Element) -> None:
    block = isinstance(node, nodes.math_block)
    translator.body.append(tex2mathml(node.astext(), as_block=block))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the formulas' renderer; write the generated pages before the others are read."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("builder-inited", lambda app: generate.write_pages(Path(app.srcdir)))
