"""A changed value and its answer, and sweeps of many, as plain hooks on the model itself give them."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

import tftrace
from tests.support.bits import hooks
from tests.support.zoo_models import build
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.models.load import Loaded, load_again
from tftrace.models.one_step.tensor_file import save
from tftrace.models.trials.sweep_units import units
from tftrace.navigate.edited_steps import edited_steps
from tftrace.trace.writer import TableFile

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "what-if.json"
CLOSE = 1e-5
SELF = "bert.encoder.layer.{}.attention.self"


@pytest.fixture(scope="module")
def bert(film: tftrace.Trace) -> Loaded:
    return load_again(film.meta)


def silenced(loaded: Loaded, heads: Iterable[tuple[str, int]], width: int) -> Any:
    """The output with some heads set to zero by plain hooks."""

    def silent(head: int) -> Callable[..., Any]:
        def hook(module: Any, args: Any, result: Any) -> Any:
            made = result[0].clone()
            made[..., head * width : (head + 1) * width] = 0
            return (made, *result[1:])

        return hook

    handles = [loaded.model.get_submodule(path).register_forward_hook(silent(head)) for path, head in heads]
    try:
        return loaded.run()
    finally:
        for handle in handles:
            handle.remove()


def negative(loaded: Loaded, heads: Iterable[tuple[str, int]] = ()) -> float:
    """The probability of NEGATIVE with some heads silent."""
    return float(silenced(loaded, heads, 16).logits.softmax(-1)[0, 0])


HEADS = [(SELF.format(layer), head) for layer in range(2) for head in range(4)]


def test_one_head_and_two_at_once_are_as_plain_hooks_say(
    film: tftrace.Trace, bert: Loaded, capsys: pytest.CaptureFixture[str]
) -> None:
    before = negative(bert)
    alone = [negative(bert, [head]) - before for head in HEADS]
    both = {pair: negative(bert, [HEADS[at] for at in pair]) - before for pair in combinations(range(8), 2)}
    found = film.sweep("heads", pairs=True)
    assert [(one.name, one.column) for one in found.effects] == HEADS and found.runs == 37
    assert np.allclose([one.effect for one in found.effects], alone, rtol=0, atol=CLOSE)
    assert found.pairs.keys() == both.keys()
    assert np.allclose([found.pairs[pair].effect for pair in both], list(both.values()), rtol=0, atol=CLOSE)
    assert np.allclose(found.matrix().ravel(), alone, atol=CLOSE) and len(found.to_pandas()) == 36
    assert not any(one.flips for one in (*found.effects, *found.pairs.values()))
    assert any(negative(bert, three) < 0.5 for three in combinations(HEADS, 3)), "three together change the answer"
    assert main(["what-if", str(film.path), "--sweep", "heads", "--pairs", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert np.allclose([one["effect"] for one in said["effects"]], alone, rtol=0, atol=CLOSE)
    assert np.allclose([one["effect"] for one in said["pairs"]], list(both.values()), rtol=0, atol=CLOSE)


def test_metrics(film: tftrace.Trace, bert: Loaded) -> None:
    before, after = bert.run().logits[0].double(), silenced(bert, HEADS[3:4], 16).logits[0].double()
    one, other = before.log_softmax(-1), after.log_softmax(-1)
    wanted = {
        "logit:POSITIVE": after[1] - before[1],
        "kl": (one.exp() * (one - other)).sum(),
        "l2": (after - before).norm() / before.norm(),
    }
    at = film.find(HEADS[3][0])[0].position
    for metric, value in wanted.items():
        found = film.sweep("heads", step=at, metric=metric)
        assert len(found.effects) == 4 and abs(found.effects[3].effect - float(value)) < CLOSE
    with pytest.raises(TraceError, match="There is no metric x: choose logit:TOKEN, label, kl or l2"):
        film.sweep("heads", metric="x")
    with pytest.raises(TraceError, match="There is no token nobody"):
        film.sweep("heads", metric="logit:nobody")


@pytest.mark.slow
def test_all_heads_of_minilm_are_as_plain_hooks_say(minilm: str, tmp_path: Path) -> None:
    path = tmp_path / "run.tftrace"
    assert main(["record", minilm, "--text", "this is not a good film", "-o", str(path), "--level", "modules"]) == 0
    trace = tftrace.load(path)
    loaded = load_again(trace.meta)
    before = loaded.run().last_hidden_state
    found = trace.sweep("heads")
    assert found.metric == "l2" and len(found.effects) == 72
    for one in found.effects:
        after = silenced(loaded, [(one.name, one.column or 0)], 32).last_hidden_state
        assert abs(one.effect - float((after - before).norm() / before.norm())) < CLOSE


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[tftrace.Trace, tftrace.Trace]:
    """The demo translator on two dates, the second without the values of what its steps returned."""
    folder = tmp_path_factory.mktemp("dates")
    for name, text, kept in (("a", "1999-03-12", "auto"), ("b", "1999-08-25", "none")):
        words = ["record", "demo:transformer", "--text", text, "-o", str(folder / f"{name}.tftrace")]
        assert main([*words, "--level", "modules", "--values", kept]) == 0
    return tftrace.load(folder / "a.tftrace"), tftrace.load(folder / "b.tftrace")


def test_patching_one_position_from_another_text(dates: tuple[tftrace.Trace, tftrace.Trace], tmp_path: Path) -> None:
    here, other = (load_again(trace.meta) for trace in dates)
    name = "model.encoder.layers.1"
    given: list[torch.Tensor] = []
    handle = other.model.get_submodule(name).register_forward_hook(lambda m, a, result: given.append(result))
    other.run()
    handle.remove()

    def patched(module: Any, args: Any, result: torch.Tensor) -> torch.Tensor:
        made = result.clone()
        made[:, 6] = given[0][:, 6]
        return made

    handle = here.model.get_submodule(name).register_forward_hook(patched)
    wanted = here.run()
    handle.remove()
    step = dates[0].find(name)[0].position
    found = dates[0].what_if(step, tftrace.from_trace(dates[1], token=6), tmp_path / "patched.tftrace")
    root = found.trace[0].value("logits")
    assert np.allclose(root, wanted.logits.numpy(), atol=CLOSE) and found.flips
    assert (found.before, found.after) == (dates[0].meta["result"], here.describe(wanted))
    assert "march" in found.before and "august" in found.after
    assert found.comparison.verdict == "differs" and name in found.comparison.sentence
    assert [found.trace[at].name for at in edited_steps(found.trace)] == [name]
    swept = dates[0].sweep("tokens", tftrace.from_trace(dates[1]), step=step, metric="kl")
    assert [one.token for one in swept.effects] == [*"1999-03-12", "</s>"]
    assert swept.strongest[0].token in "312" and swept.effects[6].flips and not swept.effects[0].flips


def test_layers_and_feed_forward_parts(film: tftrace.Trace, bert: Loaded) -> None:
    found = film.sweep("layers", metric="kl")
    assert [one.label for one in found.effects] == ["layer.0", "layer.1"] and found.edit == "left out"
    found = film.sweep("mlps", metric="l2")
    assert [one.name for one in found.effects] == [f"bert.encoder.layer.{n}.output.dense" for n in range(2)]
    blocks = film.sweep("tokens", tftrace.mean(), metric="l2").blocks()
    assert blocks[0][1] == ["[CLS]", "this", "is", "not", "a", "good", "film", "[SEP]"]
    assert blocks[0][2].shape == (2, 8) and blocks[0][2][1, 1:].max() == 0  # after the last layer only [CLS] is read


def test_layers_whose_only_part_is_a_list() -> None:
    model, _ = build("t5")
    for sweep in ("layers", "mlps"):
        found = units({"": model}, sweep, lambda path: [])
        assert [one.row for one in found] == [f"{part}.block.{n}" for part in ("encoder", "decoder") for n in range(2)]


SCRIPT = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)
    def forward(self, x, *, flip):
        return self.b(torch.relu(self.a(x)) * flip)
torch.manual_seed(1)
net = Net()
print("began")
for n in range(3):
    net(torch.randn(2, 1, 4), flip=float(n)).sum().backward()
print("ended")
"""


def test_a_trace_of_a_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    Path("net.py").write_text(SCRIPT)
    with pytest.raises(SystemExit):
        main(["run", "-o", "run.tftrace", "--values", "auto", "net.py"])
    trace = tftrace.load("run.tftrace")
    step = trace.find("Net.a", forward=2)[0].position
    with pytest.raises(TraceError, match=r"run.tftrace does not say how its model was loaded: .* with --script"):
        trace.what_if(step, tftrace.zero())
    capsys.readouterr()
    words = ["what-if", "run.tftrace", str(step), "--zero", "--script", "net.py", "-o", "new.tftrace"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "began" in said and "ended" not in said and "born at Net.a" in said
    new = tftrace.load("new.tftrace")
    assert [(one.name, one.edited) for one in new if one.edited] == [("Net.a", "zero")]
    result = new.find("Net")[0].value("")
    assert np.allclose(result, result[0, 0])  # nothing but the bias of b is left
    assert main(["what-if", "run.tftrace", str(step), "--zero", "--script", "none.py"]) == 2


WRONG = [
    (["45"], "No change is named: choose one of --zero"),
    (["45", "--zero", "--mean"], "--zero and --mean are several changes"),
    (["46", "--zero"], "Step 46 is a line: edit its call, step 45."),
    (["999", "--zero"], "There is no step 999"),
    (["45", "--zero", "--head", "9"], "There is no head 9 in"),
    (["45", "--zero", "--head", "x"], "--head x is no position"),
    (["45", "--zero", "--dim", "H"], "--dim H names no positions"),
    (["--zero"], "Name a step"),
    (["45", "--zero", "--pairs"], "--metric and --pairs belong to a sweep"),
    (["45", "--set", "none.npy"], "none.npy is neither a number nor an array"),
    (["45", "--from", "none.tftrace"], "There is no trace at none.tftrace"),
    (["--sweep", "heads", "-o", "map.txt"], "A sweep cannot be written to map.txt"),
    (["45", "--zero", "--script", ""], "--script is empty"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_what_cannot_be_tried_is_said(
    words: list[str], sentence: str, film: tftrace.Trace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["what-if", str(film.path), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_run_that_could_not_be_written_is_not_compared(
    film: tftrace.Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TableFile, "write", full)
    assert main(["what-if", str(film.path), "40", "--zero", "-o", str(tmp_path / "new.tftrace")]) == 2
    said = "tftrace: The edited run is not whole, as the disk was full (No space left on device): make room, or "
    assert capsys.readouterr().err.endswith(said + "choose another path.\n")
    monkeypatch.setattr("tftrace.models.one_step.tensor_file.save_file", lambda *_: _fail())
    with pytest.raises(OSError, match="No space left on device"):
        save({"a": np.zeros(3)}, tmp_path / "a.safetensors")


def _fail() -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_the_command_says_what_became_of_the_answer(
    film: tftrace.Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    form = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    np.save(tmp_path / "zeros.npy", np.zeros((1, 8, 64), np.float32))
    for change in (["--scale", "0"], ["--set", str(tmp_path / "zeros.npy")], ["--set", "0"], ["--zero"]):
        assert main(["what-if", str(film.path), "40", *change, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        form.validate(told)
        assert told["after"] == "NEGATIVE 0.87" and not told["flips"] and told["verdict"] == "differs"
    assert main(["what-if", str(film.path), "40", "--zero", "-o", str(tmp_path / "new.tftrace")]) == 0
    told = capsys.readouterr()
    assert "step 40 · bert.encoder.layer.0 ✎ zero\nNEGATIVE 1.00 → NEGATIVE 0.87\n" in told.out
    assert "new.tftrace' steps through both." in told.err
    assert tftrace.load(tmp_path / "new.tftrace").meta["result"] == "NEGATIVE 0.87"
    for ending in ("html", "csv", "json"):
        assert main(["what-if", str(film.path), "--sweep", "layers", "-o", str(tmp_path / f"map.{ending}")]) == 0
        assert "1 of them gives another answer." in capsys.readouterr().out
    form.validate(json.loads((tmp_path / "map.json").read_text()))
    page = (tmp_path / "map.html").read_text()
    assert "<script" not in page and 'class="m8"' in page and "layer.0" in page
    assert (tmp_path / "map.csv").read_text().splitlines()[0] == "name,label,row,column,token,effect,flips,said"


def test_nothing_stays_behind_on_a_model_that_is_swept(film: tftrace.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Loaded] = []

    def loading(meta: Any) -> Loaded:
        kept.append(load_again(meta))
        return kept[-1]

    monkeypatch.setattr("tftrace.models.trials.runs_again.load_again", loading)
    film.sweep("heads")
    with pytest.raises(TraceError, match="There is no token 50"):
        film.what_if(40, tftrace.zero(token=50))
    assert len(kept) == 2 and not any(hooks(one.model) for one in kept)
