"""`tftrace compare` in its other forms: written to files, varied, judged, mapped, and from Python."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import pytest
from torch import nn

import tftrace
from tftrace.cli import main

from ..compare.ports import Scripted
from ..compare.runs import ids, llama, recorded


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    model, tokens = llama(), ids(1, 7)
    other = copy.deepcopy(model)
    other.model.layers[1].mlp.act_fn = nn.GELU()
    recorded(tmp_path / "a.tftrace", model, lambda: model(tokens))
    recorded(tmp_path / "b.tftrace", other, lambda: other(tokens))
    return str(tmp_path / "a.tftrace"), str(tmp_path / "b.tftrace")


def test_an_answer_is_written_as_json_csv_and_a_page(pair: tuple[str, str], tmp_path: Path) -> None:
    for ending in ("json", "csv", "html"):
        assert main(["compare", *pair, "-o", str(tmp_path / f"x.{ending}")]) == 1
    said = json.loads((tmp_path / "x.json").read_text())
    assert said["verdict"] == "differs" and len(said["tensors"]) == said["pairs"]["compared"]
    with open(tmp_path / "x.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == said["pairs"]["compared"] and {"born", "equal", "inherited"} <= {row["status"] for row in rows}
    page = (tmp_path / "x.html").read_text()
    assert "GELU in B" in page and "<script" not in page and "default-src 'none'" in page
    assert main(["compare", *pair, "-o", str(tmp_path / "x.html")]) == 2  # is not replaced
    assert main(["compare", *pair, "-o", str(tmp_path / "x.html"), "--force"]) == 1
    assert main(["compare", *pair, "-o", str(tmp_path / "x.txt")]) == 2


def test_from_python_with_objects_and_a_frame(pair: tuple[str, str]) -> None:
    left, right = (tftrace.load(path) for path in pair)
    found = left.compare(right)
    assert found.verdict == "differs" and found.first is not None and found.first.left is not None
    assert left[found.first.left.step or 0].name == "model.layers.1.mlp.act_fn"
    frame = found.to_pandas()
    assert len(frame) == found.pairs.compared and (frame["status"] == "born").sum() == found.pairs.born
    assert left.compare(left).verdict == "equal" and left.compare(left, tokens=(2, 2)).verdict == "equal"
    with pytest.raises(tftrace.TraceError, match="no token"):
        left.compare(right, tokens=(99, 0))


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        ("attn=eager,sdpa", 0, "attention: eager | sdpa"),
        ("batch=alone,padded", 0, "No difference"),
        ("cache", 0, "with a cache"),
        ("set=layer_norm_epsilon=1e-5,1e-3", 1, "ln_1"),
    ],
)
def test_varied_runs_are_recorded_and_compared(
    said: str, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "demo:gpt2", "--text", "The little girl went", "--vary", said]) == code
    assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    "said",
    ["attn", "attn=eager", "nonsense=a,b", "set=1,2", "batch=big,small", "dtype=float32,half", "quantize=none,int9"],
)
def test_what_cannot_be_varied_is_said(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "demo:gpt2", "--text", "The girl", "--vary", said]) == 2
    assert "--vary" in capsys.readouterr().err
    assert main(["compare", "demo:gpt2"]) == 2


def test_a_judge_says_which_is_nearer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / f"{dtype}.tftrace") for dtype in ("float32", "bfloat16")]
    for path, dtype in zip(paths, ("float32", "bfloat16"), strict=True):
        assert main(["record", "demo:gpt2", "--text", "The little girl", "--dtype", dtype, "-o", path]) == 0
    capsys.readouterr()
    assert main(["compare", *paths, "--judge", "float64"]) == 0
    assert "A is nearer" in capsys.readouterr().out
    assert main(["compare", *paths, "--judge", "float16"]) == 2


def test_a_map_tells_names_that_numbers_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = llama()
    port = Scripted(model).eval()
    a, b, told = (tmp_path / name for name in ("a", "b", "names.json"))
    recorded(a, model, lambda: model(ids(1, 8)))
    recorded(b, port, lambda: port(ids(1, 8)))
    told.write_text(json.dumps({"model.layers.0.input_layernorm": "rms"}))
    assert main(["compare", str(a), str(b), "--map", str(told), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] in ("rounding", "equal")
    told.write_text(json.dumps({"nowhere": "rms"}))
    assert main(["compare", str(a), str(b), "--map", str(told)]) == 2
    assert "nowhere" in capsys.readouterr().err
    told.write_text("[")
    assert main(["compare", str(a), str(b), "--map", str(told)]) == 2
