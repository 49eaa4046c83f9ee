"""The graph of a forward pass: which boxes, and that its arrows are those of the model's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.errors import TraceError
from tftrace.flow import Graph, graph
from tftrace.flow.reads import reads

from ..conftest import tiny
from ..support.builders import Builder, hostile_trace


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tftrace.Trace:
    return recorded(tmp_path_factory, "bert")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> tftrace.Trace:
    return recorded(tmp_path_factory, "gpt2")


def recorded(folders: pytest.TempPathFactory, family: str, **options: Any) -> tftrace.Trace:
    model, inputs = tiny(family)
    path = folders.mktemp(family) / "run.tftrace"
    with torch.no_grad(), tftrace.record(model, path=path, check=False, **options):
        model(**inputs)
    return tftrace.load(path)


def arrows(found: Graph) -> set[tuple[str, str]]:
    """Titles of the boxes at both ends; where several have a title, the cluster's stands before it."""
    titles = [node.title for node in found.nodes]

    def name(at: int) -> str:
        cluster = found.nodes[at].cluster
        several = titles.count(titles[at]) > 1 and cluster is not None
        return f"{found.clusters[cluster].title}/{titles[at]}" if several and cluster is not None else titles[at]

    return {(name(edge.source), name(edge.target)) for edge in found.edges}


LAYER = {
    ("hidden_states", "query"),
    ("hidden_states", "key"),
    ("hidden_states", "value"),
    ("query", "sdpa_attention_forward()"),
    ("key", "sdpa_attention_forward()"),
    ("value", "sdpa_attention_forward()"),
    ("sdpa_attention_forward()", "output/dense"),
}


def test_a_layer_as_the_paper_draws_it(bert: tftrace.Trace) -> None:
    found = graph(bert, "encoder.layer.1")
    assert {cluster.title for cluster in found.clusters} == {"attention", "self", "output", "intermediate"}
    # THEN heads, residual and feed-forward stand as in the code, and the dropouts, which did nothing, are not drawn
    assert arrows(found) >= LAYER | {
        ("hidden_states", "output/+"),
        ("output/dense", "output/+"),
        ("output/+", "output/LayerNorm"),
        ("output/LayerNorm", "intermediate/dense"),
        ("intermediate/dense", "intermediate_act_fn"),
    }
    assert not any("dropout" in node.title for node in found.nodes)
    query = next(edge for edge in found.edges if found.nodes[edge.source].title == "query")
    assert query.shapes == ((2, 4, 8, 8),) and query.names == ("query",) and query.how == "line"


def test_the_operators_of_torch_say_the_same(bert: tftrace.Trace, tmp_path_factory: pytest.TempPathFactory) -> None:
    ops = recorded(tmp_path_factory, "bert", level="ops")
    assert arrows(graph(ops, "encoder.layer.1")) == arrows(graph(bert, "encoder.layer.1"))


def test_pre_norm_residuals_are_joined(gpt2: tftrace.Trace) -> None:
    found = graph(gpt2, "h.0", depth=1)
    assert arrows(found) == {
        ("hidden_states", "ln_1"),
        ("ln_1", "attn"),
        ("attn", "+"),
        ("hidden_states", "+"),
        ("+", "ln_2"),
        ("ln_2", "mlp"),
        ("mlp", "+"),
        ("+", "+"),
        ("+", "output"),
    }


def test_depth_opens_calls(bert: tftrace.Trace) -> None:
    boxes = [[node.title for node in graph(bert, depth=depth).nodes if node.kind == "call"] for depth in range(4)]
    assert boxes[0] == ["BertForSequenceClassification"] and boxes[1] == ["bert", "classifier"]
    assert boxes[2] == ["embeddings", "encoder", "pooler", "classifier"]
    assert {"layer.0", "layer.1"} < set(boxes[3])
    assert graph(bert).depth == 4


def test_without_lines_only_what_kept_its_number_is_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = graph(recorded(tmp_path_factory, "bert", level="modules"), "encoder.layer.0")
    how = {(found.nodes[e.source].title, found.nodes[e.target].title): e.how for e in found.edges}
    assert how["hidden_states", "query"] == "same" and how["value", "dense"] == "order"


def test_one_forward_of_several(tmp_path: Path) -> None:
    model, inputs = tiny("gpt2")
    with torch.no_grad(), tftrace.record(model, path=tmp_path / "t", level="modules"):
        model.generate(inputs["input_ids"], max_new_tokens=3, do_sample=False)
    trace = tftrace.load(tmp_path / "t")
    first, last = graph(trace), graph(trace, forward=2)
    assert first.forwards == 3 and last.position > first.position and len(first.nodes) == len(last.nodes)
    with pytest.raises(TraceError, match="its forwards are 0 to 2"):
        graph(trace, forward=3)


def test_a_part_that_is_not_there(bert: tftrace.Trace) -> None:
    with pytest.raises(TraceError, match=r"no call 'encoder.layer.9' in .*: 'tftrace show"):
        graph(bert, "encoder.layer.9")
    with pytest.raises(TraceError, match=r"there are bert.embeddings.LayerNorm"):
        graph(bert, "embedding.LayerNorm")


def test_more_boxes_than_can_be_looked_at(tmp_path: Path) -> None:
    b = Builder(tmp_path / "t.tftrace")
    b.step(0)
    for number in range(500):
        b.step(1, name=f"m.{number}")
    with pytest.raises(TraceError, match="500 boxes, more than 400"):
        graph(b.done(), depth=1)


def test_strangers_traces(tmp_path: Path) -> None:
    assert graph(hostile_trace(tmp_path), depth=9).nodes
    # GIVEN tensors that come from one another, in lines nested without an end
    source = tmp_path / "loop.py"
    source.write_text("a = b + a\n", encoding="utf-8")
    b = Builder(tmp_path / "loop.tftrace")
    b.writer.keep_source(str(source))
    b.step(0)
    for depth in range(1, 300):
        at = b.step(depth, "line", file=str(source), line=1, end_line=1)
        b.tensor(at, "local", "a" if depth % 2 else "b", tensor=depth % 7)
    call = b.step(300, name="m", file=str(source), line=1, end_line=1, col=0, end_col=5)
    b.tensor(call, "input", "x", tensor=3)
    b.tensor(call, "output", "", tensor=8)
    assert graph(b.done()).nodes


@pytest.mark.parametrize(
    ("line", "names", "operator"),
    [
        ("x = x + y", {"x", "y"}, "+"),
        ("x, z = f(y, mask=m)", {"f", "y", "m"}, ""),
        ("h = torch.zeros(q.shape[0], k.size(1)) + v", {"torch", "v"}, "+"),
        ("h += g  # + note", {"h", "g"}, "+"),
        ("y = d['a + b'][0] * w", {"d", "w"}, "×"),
        ("y = states[0]", {"states[0]"}, ""),
        ("y = out.last_hidden_state", {"out.last_hidden_state"}, ""),
        ("return a == b", {"return", "a", "b"}, ""),
    ],
)
def test_what_a_line_reads(tmp_path: Path, line: str, names: set[str], operator: str) -> None:
    source = tmp_path / "s.py"
    source.write_text(line + "\n", encoding="utf-8")
    b = Builder(tmp_path / "t.tftrace")
    b.writer.keep_source(str(source))
    b.step(0, "line", file=str(source), line=1, end_line=1)
    found = reads(b.done(), 0)
    assert set(found.names) == names and found.operator == operator
