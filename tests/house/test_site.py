"""The site that `make docs` builds is whole: each page is in the navigation, and the lessons make theirs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tftrace
from tftrace.language import LANGUAGES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def lessons() -> list[Any]:
    learn = pytest.importorskip("tftrace.learn", reason="this version has no lessons")
    found: list[Any] = learn.lessons()
    return found


@pytest.fixture(scope="module")
def made(lessons: list[Any]) -> ModuleType:
    spec = importlib.util.spec_from_file_location("lesson_pages", DOCS / "lesson_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(text: str) -> list[str]:
    """The pages that the navigation of a page names."""
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]


def test_the_navigation_names_each_page_once() -> None:
    named = entries((DOCS / "index.md").read_text(encoding="utf-8"))
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index", "lessons"}  # that one stands beside the lessons
    assert sorted(named) == sorted({*pages, "learn/index"})


def test_each_lesson_has_a_page_in_each_language(made: ModuleType, lessons: list[Any], tmp_path: Path) -> None:
    made.write(tmp_path, pictures=False)
    named = entries((tmp_path / "index.md").read_text(encoding="utf-8"))
    assert len(named) == len(LANGUAGES) * len(lessons) + 1 and "/lessons" in named
    for lesson in lessons:
        for language in LANGUAGES:
            name = f"{language}/{lesson.number:02}-{lesson.id}"
            page = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
            assert name in named
            assert all(station.title[language] in page for station in lesson.stations)
            assert page.count(f"](../pictures/{lesson.id}.{language}.svg)") == int(made.pictured(lesson) is not None)


@pytest.mark.parametrize("page", ["quick-start.md", "own-model.md"])
def test_the_python_of_the_pages_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, namespace)
    trace = namespace["trace"]
    assert isinstance(trace, tftrace.Trace) and set(trace.checks["verdict"].to_pylist()) == {"holds"}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for library in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(library, reason="install the docs extra: pip install '.[docs]'")
    places: list[str | Path] = ["-d", tmp_path / "doctrees", DOCS, tmp_path / "site"]
    words: list[str | Path] = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", *places]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "learn" / "index.html").is_file() and (tmp_path / "site" / "api.html").is_file()
