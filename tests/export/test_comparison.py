"""A comparison as a page, as CSV and as JSON: read back by other programs, without markup of a stranger's."""

from __future__ import annotations

import base64
import copy
import csv
import hashlib
import json
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from tftrace import Trace
from tftrace.cli import main
from tftrace.compare import Comparison, TraceSide, compare_runs
from tftrace.errors import TraceError
from tftrace.export.compared import export_comparison

from ..compare.runs import gpt2, ids, recorded

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Trace]:
    folder, model, tokens = tmp_path_factory.mktemp("comparison"), gpt2(), ids(2, 7)
    other = copy.deepcopy(model)
    other.transformer.h[1].ln_2.eps = 1e-3
    left, right = (
        recorded(folder / str(n), one, partial(one, tokens), check=True) for n, one in enumerate((model, other))
    )
    return left, right


@pytest.fixture(scope="module")
def found(runs: tuple[Trace, Trace]) -> Comparison:
    return compare_runs(TraceSide(runs[0]), TraceSide(runs[1]))


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if "style" in self.open else data


def test_the_page_has_the_sentence_first_and_both_lines(
    runs: tuple[Trace, Trace], found: Comparison, tmp_path: Path
) -> None:
    export_comparison(found, runs, ("one", "two"), tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    body = page.text.split("tftrace compare", 1)[1].strip()
    assert body.startswith("The first difference is born at transformer.h.1.ln_2")
    assert page.text.count("self.ln_2(hidden_states)") == 2
    assert {"here", "born"} <= {str(given.get("class")) for _, given in page.tags}
    # THEN the layers stand in a table, and the tokens of the born difference on its colours
    assert re.search(r"layer\s*local\s*inherited", page.text)
    shaded = [
        given["title"] for tag, given in page.tags if tag == "span" and re.match(r"l[2-5]", given.get("class") or "")
    ]
    assert len(shaded) == 14 and all(float(str(size)) > 1e-5 for size in shaded)
    assert page.text.count("row 0") >= 1 and page.text.count("row 1") >= 1
    # THEN it loads nothing, runs nothing, and its one style is the one that its policy allows
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"} and "http-equiv" in text
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert len(style) == 1 and f"style-src 'sha256-{digest}'" in text.replace("&#x27;", "'")
    assert not re.search(r"\sstyle=|\bon\w+=", text)


def test_a_stranger_has_no_markup_in_the_page(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by
            self.add_module(f"a{MARKUP}".replace(".", ""), torch.nn.Linear(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for child in self.children():
                x = child(x) * self.by
            return x

    traces = []
    for by in (1.0, 2.0):
        torch.manual_seed(0)
        model = Odd(by)
        traces.append(
            recorded(tmp_path / str(by), model, partial(model, torch.ones(2, 4)), level="modules", values="all")
        )
        traces[-1].meta["result"] = MARKUP + str(by)
    found = compare_runs(TraceSide(traces[0]), TraceSide(traces[1]))
    assert found.verdict == "differs"
    export_comparison(found, (traces[0], traces[1]), (MARKUP, MARKUP), tmp_path / "run.html")
    page = Page((tmp_path / "run.html").read_text(encoding="utf-8"))
    assert not {"script", "img"} & {tag for tag, _ in page.tags} and MARKUP in page.text


def test_csv_has_a_row_for_each_pair(runs: tuple[Trace, Trace], found: Comparison, tmp_path: Path) -> None:
    export_comparison(found, runs, ("one", "two"), tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.tensors)
    assert [row["status"] for row in rows] == [pair.status for pair in found.tensors]
    born = [row for row in rows if row["status"] == "born"]
    assert found.first is not None and found.first.left is not None
    assert born[0]["left_name"] == "transformer.h.1.ln_2" and born[0]["layer"] == "1"
    assert float(born[0]["difference"]) == found.first.difference and int(born[0]["left_step"]) == found.first.left.step
    assert {row["measured"] for row in rows} <= {"values", "prints", "statistics"}


def test_the_command_writes_what_it_prints(
    runs: tuple[Trace, Trace], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["compare", str(runs[0].path), str(runs[1].path)]
    file = tmp_path / "run.json"
    assert main([*given, "--json", "-o", str(file)]) == 1
    printed = capsys.readouterr()
    written = json.loads(file.read_text())
    assert {key: written[key] for key in json.loads(printed.out)} == json.loads(printed.out)
    assert len(written["tensors"]) == written["pairs"]["compared"] and f"Wrote {file}." in printed.err
    # THEN nothing is replaced without --force, and an unknown ending is a sentence
    file.write_text("mine")
    assert main([*given, "-o", str(file)]) == 2
    assert file.read_text() == "mine" and "--force" in capsys.readouterr().err
    assert main([*given, "-o", str(file), "--force"]) == 1 and json.loads(file.read_text())["verdict"] == "differs"
    assert main([*given, "-o", str(tmp_path / "run.txt")]) == 2
    assert "There is no export of a comparison to '.txt'" in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["run.json"]


def test_an_interrupted_export_leaves_nothing(
    runs: tuple[Trace, Trace], found: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tftrace.export.compared import comparison_page

    def fail(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison_page, "_side", fail)
    with pytest.raises(KeyboardInterrupt):
        export_comparison(found, runs, ("one", "two"), tmp_path / "run.html")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TraceError, match="cannot be written"):
        export_comparison(found, runs, ("one", "two"), tmp_path / "no" / "run.csv")
