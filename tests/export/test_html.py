"""The HTML report: it holds what the trace says, asks the network for nothing, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tftrace
from tftrace import Trace, describe
from tftrace.export import export
from tftrace.export.html import content
from tftrace.export.html.mathml import mathml
from tftrace.recipes.format.library import folder, read
from tftrace.trace import notes
from tftrace.trace.answers import answers

from ..conftest import tiny
from ..support.builders import ATTENTION, Builder, attention_trace, big_trace
from ..support.generated import generated

EVIL = (
    "</script></title></template><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Page(HTMLParser):
    """The elements of a page with their attributes, the data in it and the script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        at = len(self.found) - 1
        self.texts[at] = self.texts.get(at, "") + data

    def text(self, tag: str, **attributes: str) -> str:
        return next(self.texts.get(at, "") for at, (name, given) in enumerate(self.found)
                    if name == tag and attributes.items() <= given.items())  # fmt: skip

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text("script", id="data"))
        return found


def page(trace: Trace, path: Path) -> Page:
    export(trace, path / "run.html", overwrite=True)
    return Page((path / "run.html").read_text(encoding="utf-8"))


def evil_trace(folder: Path) -> Trace:
    source = folder / "evil.py"
    source.write_text(f"x = 1  # {EVIL}\n" * 3, encoding="utf-8")
    tex = [r"\text{<script>document.title='owned'</script>}", rf"\text{{{EVIL}}}", r"\href{javascript:alert(1)}{x}"]
    recipes = {f"{EVIL}{at}": {**ATTENTION, "cite": EVIL, "tex": one, "note": {"en": EVIL, "zh": EVIL}}
               for at, one in enumerate(tex)}  # fmt: skip
    b = Builder(folder / "evil.tftrace", model=EVIL, text=EVIL, result=EVIL, equations=recipes)
    b.writer.keep_source(str(source))
    root = b.step(0, type=EVIL)
    line = b.step(1, "line", name=EVIL, type=EVIL, file=str(source), line=2, end_line=2)
    call = b.step(2, name=f"a{EVIL}", type=EVIL, file=str(source), line=2, end_line=2, col=0, end_col=3)
    for step in (root, line, call):
        b.tensor(step, "output", EVIL, dtype=EVIL, value=EVIL)
    for name in recipes:
        b.check(call, name, "differs", variant=EVIL, reason=EVIL)
    trace = b.done()
    notes.write(trace, 1, EVIL)
    return trace


def test_the_page_is_one_file_that_runs_only_its_own_script(tmp_path: Path) -> None:
    found = page(attention_trace(tmp_path), tmp_path)
    heads = (given for tag, given in found.found if tag == "meta")
    policy = next(given["content"] for given in heads if given.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "unsafe" not in policy
    script = next(found.texts[at] for at, (tag, given) in enumerate(found.found) if tag == "script" and not given)
    for text in (script, found.text("style")):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    for tag, given in found.found:
        assert tag != "link" and not {"src", "srcset", "href", "style"} & given.keys(), (tag, given)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp", script)


def test_a_strangers_markup_stays_text(tmp_path: Path) -> None:
    found = page(evil_trace(tmp_path), tmp_path)
    tags = [tag for tag, _ in found.found]
    assert tags.count("script") == 2 and not {"img", "a", "iframe", "object"} & set(tags)
    assert not any(name.startswith("on") for _, given in found.found for name in given)
    assert found.data["title"] == EVIL and EVIL in found.data["words"] and found.data["notes"] == {"1": EVIL}
    first, second, third = found.data["equations"].values()
    assert first["math"] == second["math"] == -1 and first["drawn"] and second["drawn"] and third["math"] == 0


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_draws_the_report_and_runs_nothing_of_a_strangers(tmp_path: Path) -> None:
    trace = evil_trace(tmp_path)
    export(trace, tmp_path / "run.html")
    for address, expected in (("", "document.title='owned'"), ("#2", "Vaswani")):
        command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
                   f"--user-data-dir={tmp_path / 'chrome'}", "--virtual-time-budget=2000"]  # fmt: skip
        done = subprocess.run([*command, f"file://{tmp_path}/run.html{address}"], capture_output=True, text=True,
                              timeout=60, check=True)  # fmt: skip
        body = done.stdout.partition("<body")[2].rpartition("</body>")[0]
        assert 'role="treeitem"' in body and 'id="main"' in body and "<img" not in body
        assert "<title>&lt;/script&gt;" in done.stdout and (expected in body or address)


def test_the_report_holds_lines_equations_numbers_verdicts_and_notes(tmp_path: Path) -> None:
    trace = attention_trace(tmp_path, forwards=2)
    notes.write(trace, 4, "heads\nsplit")
    found = page(trace, tmp_path).data
    words, steps = found["words"], found["steps"]
    assert found["count"] == found["all"] == len(trace) == len(steps["label"])
    at = next(at for at in range(len(trace)) if trace[at].name == "attention.attend" and trace[at].kind == "function")
    assert words[steps["label"][at]] == "attend()" and steps["verdict"][at] == 1
    (judged,) = found["judged"][str(at)]
    recipe = found["equations"][words[judged[0]]]
    assert recipe["cite"] == ATTENTION["cite"]
    assert recipe["note"] == ["Each query is compared with every key.", "每个查询与所有键比较。"]
    assert words[judged[3]] == "✓ holds  3.0e-07 ≤ 1.2e-05 (32 cells)" and recipe["math"] == 1
    file, title, first, last, *call = steps["code"][at]
    assert words[title] == "toy.py ─ Attention.forward" and (first, last, call) == (10, 10, [10, 17, 10, 35])
    line = "".join(found["files"][file]["lines"]["10"][1::2])
    assert line == "        scores = attend(query, key)" and line[call[1] : call[3]] == "attend(query, key)"
    assert found["notes"] == {"4": "heads\nsplit"}
    row = found["tensors"]["start"][at]
    assert words[found["tensors"]["name"][row]] == "query" and found["tensors"]["mean"][row] == 0.01
    assert found["tensors"]["histogram"][row] == -1 and found["attention"] == {}


def test_pictures_come_from_what_was_kept(tmp_path: Path) -> None:
    model, inputs = tiny("bert")
    with torch.no_grad(), tftrace.record(model, path=tmp_path / "t", values="auto"):
        model(**inputs)
    trace = tftrace.load(tmp_path / "t")
    found = page(trace, tmp_path).data
    tensors = found["tensors"]
    kept = [at for at, place in enumerate(tensors["histogram"]) if place >= 0]
    assert len(kept) > 50
    for at in kept[:20]:
        low, high, *counts = found["histograms"][tensors["histogram"][at]]
        numel = eval_shape(found["words"][tensors["shape"][at]])
        assert sum(counts) == numel and low <= tensors["min"][at] <= tensors["max"][at] <= high + 1e-6
    assert len(found["attention"]) == 2
    for maps in found["attention"].values():
        assert maps["shape"] == [4, 8, 8] and maps["of"] == [2, 4, 8, 8] and maps["rebuilt"]
        weights = np.frombuffer(base64.b64decode(maps["weights"]), np.uint8).reshape(maps["shape"])
        assert np.abs(weights.sum(-1) - 255.0).max() <= 4


def eval_shape(said: str) -> int:
    return int(np.prod([int(size) for size in said.split("×")]))


def test_a_long_run_is_cut_and_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_STEPS", 20)
    found = page(big_trace(tmp_path, 50), tmp_path).data
    assert found["count"] == 20 and found["all"] > 20 and len(found["steps"]["end"]) == 20
    assert max(found["steps"]["end"]) == 20 and max(found["tensors"]["from"], default=0) < 20


def test_every_recipe_is_drawn_as_mathml() -> None:
    equations = [equation for file in sorted(folder().glob("*.toml")) for equation in read(file)]
    undrawn = [equation.id for equation in equations if mathml(equation.tex) is None]
    assert len(equations) > 30 and undrawn == []
    assert "<mi>softmax</mi>" in (mathml(r"\mathrm{softmax}(x)") or "")


@pytest.mark.parametrize(
    "tex",
    [
        r"\text{<script>alert(1)</script>}",
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{<mtext onclick='x'>}",
        "{" * 900,
        "x" * 3000,
        r"\frac{",
    ],
)
def test_what_is_no_mathematics_is_not_drawn(tex: str) -> None:
    assert mathml(tex) is None


def test_attributes_that_do_something_are_dropped() -> None:
    assert "javascript" not in (mathml(r"\href{javascript:alert(1)}{x}") or "")
    assert "style=" not in (mathml(r"\style{color:red}{x}") or "") and "class=" not in (mathml(r"\class{a}{x}") or "")


NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="no JavaScript here")
@pytest.mark.parametrize("width", [1400, 400])
def test_every_page_is_drawn_with_tokens_sub_steps_and_the_grid(tmp_path: Path, film: Trace, width: int) -> None:
    export(film, tmp_path / "run.html")
    command = [
        str(NODE),
        str(Path(__file__).parent / "page_without_browser.js"),
        str(tmp_path / "run.html"),
        str(width),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    pages: list[str] = json.loads(done.stdout)
    assert len(pages) == len(film) + 1
    assert "Generation: tokens × layers" in pages[0] and "took in…␣w3" in pages[0] and "◂ chosen" in pages[0]
    assert "What it took in and gave out“␣w3” → " in pages[1]
    at = int(describe.attention_steps(film)[-1])
    words = answers(film).words(answers(film).text(answers(film).at(film.root_of(at))[0]))
    assert f"query ↓  key → larger{''.join(words)}{words[-1]}" in pages[at + 1]  # both axes, always
    for step in ("1 · project", "2 · score", "3 · scale and mask", "4 · softmax", "5 · weighted sum"):
        assert step in pages[at + 1]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return generated(tmp_path_factory.mktemp("film") / "run.tftrace", [[5, 9, 3]], max_new_tokens=3)


def test_a_generation_is_data_of_the_report(tmp_path: Path, film: Trace) -> None:
    found = page(film, tmp_path).data
    made, words = found["generation"], found["words"]
    assert [words[row] for row in made["rows"]][:3] == ["wte", "wpe", "drop"] and made["forwards"] == [1, 2, 3]
    assert np.shape(made["cells"]) == np.shape(made["time"]) == (len(made["rows"]), 3)
    assert made["time"][0][0] == pytest.approx(film.column("duration_ns")[made["cells"][0][0]] / 1e3, 1e-2)  # in μs
    (text,) = made["texts"]
    assert [one[0] for one in text] == [3, 1, 1] and all(len(one[4]) >= 5 for one in text)
    assert [words[one[1]] for one in text[1:]] == [words[one[2][0]] for one in text[:2]]  # given out, then taken in
    assert list(found["answers"]) == [str(root) for root in made["roots"]]
    assert all(len(steps) == 5 for steps in found["substeps"].values())
    formulas = [one[1] for steps in found["substeps"].values() for one in steps]
    assert len(formulas) == 5 * len(found["attention"]) and len(set(formulas)) == 5  # each formula is there once
