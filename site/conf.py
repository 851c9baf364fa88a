"""The website: README, notebooks as they are stored, docs and the library's docstrings. `make site` builds it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ADDRESS = settings["tool"]["e2ent2"]["public-address"]

project, author, project_copyright = "E2ENT²", "The e2ent2lib authors", "2026, the e2ent2lib authors"
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "data/README.md", "notebooks/*.ipynb", "site/*.md"]
exclude_patterns = ["site/contents.md", ".*", "build", "runs", "data/[!R]*", "weights", "**/.ipynb_checkpoints"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax", "sphinx-mathjax-offline"]
nb_execution_mode, nb_merge_streams, nb_render_markdown_format = "off", True, "myst"
nb_render_image_options = {"scale": "100"}  # Sphinx links a picture with a scale to its file
myst_enable_extensions, myst_heading_anchors = ["dollarmath", "html_image"], 4
autodoc_member_order, autodoc_preserve_defaults, add_module_names = "bysource", True, False
python_maximum_signature_line_length, viewcode_follow_imported_members = 88, False
highlight_language = "text"  # of what names no language

html_theme, html_title, html_favicon, html_use_index = "sphinx_book_theme", "E2ENT²", "favicon.svg", False
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_static_path, html_css_files, html_extra_path = ["site.css"], ["site.css"], ["index.html"]
html_theme_options: dict[str, Any] = {"use_fullscreen_button": False, "navbar_persistent": []}
if ADDRESS:
    html_theme_options |= {
        "repository_url": ADDRESS,
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


def frame_readme(app: Sphinx, name: str, source: list[str]) -> None:
    """README is the first page: add the contents; leave out the badges, which the theme's buttons stand for."""
    if name == root_doc:
        text = re.sub(r"<!-- address -->.*?<!-- /address -->", "", source[0], flags=re.DOTALL)
        source[0] = text + (ROOT / "site" / "contents.md").read_text(encoding="utf-8")


def link_code(app: Sphinx, doctree: nodes.document) -> None:
    """Links to modules and folders of the library lead to their highlighted source; a plain folder has no page."""
    folder = Path(app.env.doc2path(app.env.docname)).parent
    for node in list(doctree.findall(lambda n: isinstance(n, (addnodes.download_reference, addnodes.pending_xref)))):
        path = (folder / node["reftarget"]).resolve()
        module = path / "__init__.py" if path.is_dir() else path
        if module.suffix == ".py" and module.is_file() and path.is_relative_to(ROOT / "e2ent2lib"):
            page = "_modules/" + path.relative_to(ROOT).with_suffix("").as_posix()
            uri = app.builder.get_relative_uri(app.env.docname, page)
            node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=uri))
        elif path.is_dir():
            node.replace_self(node.children)


def link_equations(app: Sphinx, doctree: nodes.document) -> None:
    """On every page the first "Eq. 5" leads to that equation; not in what a cell prints (of a baseline)."""
    page, linked = app.builder.get_relative_uri(app.env.docname, "site/equations"), set()
    outputs = doctree.findall(lambda n: isinstance(n, nodes.Element) and n.get("nb_element") == "cell_code_output")
    printed = {id(text) for output in outputs for text in output.findall(nodes.Text)}
    for text in list(doctree.findall(nodes.Text)):
        written = isinstance(text.parent, nodes.paragraph) and id(text) not in printed
        if written and app.env.docname != "site/equations":
            parts: list[nodes.Node] = []
            for part in re.split(r"(Eq\. \d+|Eq\. \(\d+\))", text.astext()):
                number = re.fullmatch(r"Eq\. \(?(\d+)\)?", part)
                parts.append(nodes.Text(part))
                if number and number[1] not in linked:
                    linked.add(number[1])
                    parts[-1] = nodes.reference("", part, internal=True, refuri=f"{page}#equation-eq-{number[1]}")
            text.parent.replace(text, parts)


def show_every_module(app: Sphinx, env: Any) -> None:
    """Source pages for all modules, not only for those with a documented name."""
    for path in (ROOT / "e2ent2lib").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        env._viewcode_modules.setdefault(module, (path.read_text(encoding="utf-8"), {}, {}, module))


def escape(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with ``code``: |x|, i* and E_ are no markup."""
    lines[:] = [re.sub(r"(``.*?``)|([*|]|_\b)", lambda m: m[1] or "\\" + m[2], line) for line in lines]


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", frame_readme)
    app.connect("doctree-read", link_code, priority=400)  # before Sphinx copies what is linked to
    app.connect("doctree-read", link_equations)
    app.connect("env-updated", show_every_module)
    app.connect("autodoc-process-docstring", escape)
