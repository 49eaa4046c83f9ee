"""How Sphinx makes the site of these pages: `make docs`. On GitHub they read as they are."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "tftrace"
html_title = "tftrace"
html_theme = "furo"
html_show_copyright = False
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as GitHub makes them
exclude_patterns = ["_build", "skill"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
suppress_warnings = ["misc.highlighting_failure"]
OURS = "https://github.com/tftrace/tftrace/blob/main/"  # where files beside the pages are


def _leave_the_pages(app: Any, name: str, source: list[str]) -> None:
    """Links to what is no page, such as ../CONTRIBUTING.md or a folder, lead to the repository."""

    def address(link: re.Match[str]) -> str:
        path = Path(os.path.normpath(HERE / link[1]))
        outside = not path.is_relative_to(HERE) or path.is_dir() or path.suffix == ".json"
        return f"]({OURS}{path.relative_to(HERE.parent).as_posix()})" if path.exists() and outside else link[0]

    if "/" not in name:
        source[0] = re.sub(r"\]\(([^()\s#:]+)\)", address, source[0])


def _lessons(app: Any) -> None:
    folder = Path(app.srcdir) / "learn"
    if find_spec("tftrace.learn") is None:  # a version without lessons
        folder.mkdir(exist_ok=True)
        (folder / "index.md").write_text("# Learn\n\nThis version has no lessons.\n", encoding="utf-8")
        return
    from lesson_pages import write

    write(folder)


def setup(app: Any) -> None:
    """Hand both to Sphinx."""
    app.connect("builder-inited", _lessons)
    app.connect("source-read", _leave_the_pages)
