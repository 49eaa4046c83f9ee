"""The flow diagram: its layout touches nothing it should not, and what it says is escaped."""

from __future__ import annotations

import io
import re
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

import tftrace
from tftrace import Trace
from tftrace.cli import main
from tftrace.export import FORMATS
from tftrace.export.diagram.layout import Drawing, lay_out
from tftrace.export.diagram.wording import heading
from tftrace.flow import Graph, graph

from ..conftest import tiny
from ..support.builders import Builder

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '</text><script>alert(1)</script>"]; }} %%{init: {}}%% \\" & \x1b \u202e'


@pytest.fixture(scope="module", params=["bert", "gpt2", "marian"])
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    model, inputs = tiny(request.param)
    path = tmp_path_factory.mktemp("diagram") / "run.tftrace"
    with torch.no_grad(), tftrace.record(model, path=path):
        model(**inputs)
    return tftrace.load(path)


def written(trace: Trace, name: str, **options: object) -> str:
    stream = io.BytesIO()
    FORMATS[name].write(trace, stream, **options)
    return stream.getvalue().decode()


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    (x, y, width, height), (a, b, wide, high) = one, other
    return x < a + wide and a < x + width and y < b + high and b < y + height


def inside(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    (x, y, width, height), (a, b, wide, high) = one, other
    return a <= x and x + width <= a + wide + 1e-6 and b <= y and y + height <= b + high + 1e-6


def laid(trace: Trace, depth: int | None) -> tuple[Graph, Drawing]:
    found = graph(trace, depth=depth)
    return found, lay_out(found, lambda node: (22.0, 22.0) if node.kind == "join" else (110.0, 40.0))


@pytest.mark.parametrize("depth", [1, 2, 3, None, 9])
def test_nothing_stands_on_anything_else(trace: Trace, depth: int | None) -> None:
    found, drawing = laid(trace, depth)
    whole = (0.0, 0.0, drawing.width, drawing.height)
    assert all(inside(box, whole) for box in [*drawing.nodes.values(), *drawing.clusters.values()])
    assert not any(overlap(one, other) for one, other in combinations(drawing.nodes.values(), 2))
    for at, node in enumerate(found.nodes):
        for number, rectangle in drawing.clusters.items():
            around, cluster = [], node.cluster
            while cluster is not None:
                around.append(cluster)
                cluster = found.clusters[cluster].parent
            fits = inside if number in around else (lambda one, other: not overlap(one, other))
            assert fits(drawing.nodes[at], rectangle)


@pytest.mark.parametrize("depth", [2, None, 9])
def test_arrows_go_down_from_box_to_box(trace: Trace, depth: int | None) -> None:
    found, drawing = laid(trace, depth)
    assert len(drawing.paths) == len(found.edges) > 0
    for edge, points in zip(found.edges, drawing.paths, strict=True):
        (x, y, width, height), (a, b, wide, _) = drawing.nodes[edge.source], drawing.nodes[edge.target]
        assert points[0] == (x + width / 2, y + height) and points[-1][1] == b and a <= points[-1][0] <= a + wide
        assert all(above[1] <= below[1] + 1e-6 for above, below in pairwise(points))
        for at, box in drawing.nodes.items():  # and through no other box
            if at not in (edge.source, edge.target):
                assert not any(overlap((px, py, 0.0, 0.0), box) for px, py in points)


def test_each_format_names_the_boxes_and_the_shapes(trace: Trace) -> None:
    found = graph(trace)
    for name in ("svg", "mermaid", "dot"):
        said = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), written(trace, name))
        assert all(node.title in said for node in found.nodes if node.kind == "call")
        assert "2×8×32" in said and "✓" in said
    drawn = ElementTree.fromstring(written(trace, "svg"))
    assert list(heading(trace, found)) == [text.text for text in drawn.findall(f"{SVG}text")[:2]]


def test_a_part_opened_as_deep_as_is_asked(trace: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inner = next(node.title for node in graph(trace, depth=2).nodes if node.kind == "call")
    assert main(["export", str(trace.path), str(tmp_path / "p.svg"), "--under", inner, "--depth", "0"]) == 0
    boxes = ElementTree.parse(tmp_path / "p.svg").getroot().findall(f".//{SVG}rect[@class]")
    assert sum("box" in box.get("class", "").split() for box in boxes) == 1
    assert main(["export", str(trace.path), "-", "--format", "dot", "--forward", "7"]) == 2
    assert "There is no forward 7" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["svg", "mermaid", "dot"])
def test_a_strangers_names_stay_text(tmp_path: Path, name: str) -> None:
    b = Builder(tmp_path / "t.tftrace", model=EVIL)
    b.step(0, type=EVIL)
    for number in range(2):
        step = b.step(1, name=f"m{EVIL}{number}", type=EVIL)
        b.tensor(step, "input", EVIL, tensor=number)
        b.tensor(step, "output", EVIL, tensor=number + 1, dtype=EVIL)
    said = written(b.done(), name, depth=1)
    assert "\x1b" not in said and "\u202e" not in said
    if name == "svg":
        root = ElementTree.fromstring(said)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "title", "style", "rect", "text", "g", "path", "circle"
        }  # fmt: skip
        assert not any(key.startswith("on") or "href" in key for element in root.iter() for key in element.attrib)
        assert any("alert(1)" in (element.text or "") for element in root.iter(f"{SVG}text"))
    elif name == "mermaid":
        assert "<script" not in said and "%%{" not in said
        for line in said.splitlines()[2:]:  # quotes only where ours are
            assert line.count('"') in (0, 2), line
    else:
        assert said.count("digraph") == 1
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", said)
        assert "script" not in bare and bare.count("{") == bare.count("}")
