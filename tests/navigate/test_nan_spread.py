"""On traces made by hand: what counts as an origin where rows are few, old, or of several processes and forwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tftrace
from tftrace.navigate import findings
from tftrace.navigate.nonfinite import Origins, origins
from tftrace.trace import schema
from tftrace.trace.trace import load

from ..support.builders import Builder

SOURCE = """\
class Net(Module):
    def forward(self, x, mask):
        h = self.first(x)
        scores = h + mask
        weights = scores.softmax(-1)
        scale = x.clamp(-65504, 65504)
        parts.append(h)
        y = join(parts)
        return y * x
"""
LINES = {text.split(" = ")[0].split()[0]: at for at, text in enumerate(SOURCE.splitlines(), 1) if at > 2}


class Run(Builder):
    """Rows of the model in SOURCE, each tensor by its number."""

    def __init__(self, folder: Path, **meta: Any) -> None:
        super().__init__(folder / "run.tftrace", **meta)
        self.file = folder / "net.py"
        self.file.write_text(SOURCE, encoding="utf-8")
        self.writer.keep_source(str(self.file))

    def call(self, depth: int, name: str, given: int | None, made: int | None = None, type: str = "Linear",
             bad: int = 0, came: int = 0, **fields: Any) -> int:  # fmt: skip
        step = self.step(depth, name=name, type=type, **fields)
        if given is not None:
            self.tensor(step, schema.INPUT, "x", tensor=given, nan=came)
        if made is not None:
            self.tensor(step, schema.OUTPUT, "", tensor=made, nan=bad)
        return step

    def line(self, binds: str, made: int, **row: Any) -> int:
        at = LINES[binds]
        step = self.step(1, schema.LINE, "", "Net.forward", file=str(self.file), line=at, end_line=at)
        self.tensor(step, schema.LOCAL, binds, tensor=made, **row)
        return step


def steps(found: Origins) -> list[int]:
    return [one.step for one in found.found]


def test_what_takes_nan_is_no_origin_and_is_counted_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.call(0, "", 1, 4, "Net", bad=3)
    run.call(1, "a", 1, 2)
    run.call(1, "b", 2, 3, bad=5)
    run.call(1, "c", 3, 4, came=5, bad=3)
    found = origins(trace := run.done())
    (one,) = found.found
    assert (one.step, one.name, one.what, one.count, one.reached) == (2, "b", "nan", 5, 2)
    assert findings.wrong(trace).tolist() == [2]


def test_what_was_made_between_two_calls_belongs_to_the_call_around(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.call(0, "", 1, 5, "Net", bad=1)
    run.call(1, "inner", 1, 4, "Block", bad=1)
    run.call(2, "inner.a", 1, 2)
    run.call(2, "inner.b", 3, 4, came=2, bad=1)
    (one,) = origins(run.done()).found
    assert (one.step, one.name, one.tensor, one.reached) == (1, "inner", "x", 2)


def test_nothing_is_known_of_what_has_no_statistics(tmp_path: Path) -> None:
    run = Run(tmp_path)
    step = run.call(0, "", None, None, "Net")
    unknown: dict[str, Any] = dict.fromkeys((*schema.STATISTICS, "tensor", "shape", "numel"))
    for name in ("x", "y"):
        run.tensor(step, schema.OUTPUT, name, **unknown)
    found = origins(run.done())
    assert (found.found, found.innocent) == ((), 0)
    assert origins(Run(tmp_path).done()).to_dict() == {"version": 1, "found": False, "origins": [], "innocent": 0}


def test_rows_whose_numbers_are_missing_still_have_their_nan(tmp_path: Path) -> None:
    run = Run(tmp_path)
    nameless: dict[str, Any] = {"type": None, "file": None}
    step = run.step(0, name="m", **nameless)
    unknown: dict[str, Any] = dict.fromkeys(("tensor", "inf", "min", "max", "l2", "shape", "dtype"))
    run.tensor(step, schema.OUTPUT, "", **unknown | {"nan": 4})
    (one,) = origins(run.done()).found
    assert (one.name, one.type, one.count, one.where.row) == ("m", "", 4, None)


def test_minus_inf_of_a_mask_is_innocent_until_a_row_sees_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    root = run.call(0, "", 1, None, "Net")
    run.tensor(root, schema.INPUT, "mask", tensor=9, inf=12, l2=0.0, min=0.0, max=0.0)
    run.call(1, "first", 1, 2)
    run.line("scores", 3, inf=12)
    run.line("weights", 4, nan=4)
    found = origins(run.done())
    assert steps(found) == [3] and found.innocent == 1
    assert (found.found[0].cause, found.found[0].detail) == ("masked row", "softmax of a row that sees nothing")


def test_what_was_put_into_a_list_comes_out_of_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.call(0, "", 1, 6, "Net", bad=1)
    run.line("h", 2, nan=1)
    at = LINES["parts.append(h)"]
    run.step(1, schema.LINE, "", "Net.forward", file=str(run.file), line=at, end_line=at)
    run.line("y", 5, nan=1)
    assert steps(origins(run.done())) == [1]


def test_a_line_that_reads_what_is_clean_is_an_origin_of_its_own(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.call(0, "", 1, 7, "Net", bad=1)
    run.line("h", 2, nan=1)
    run.line("scale", 7, nan=1)  # of x alone
    found = origins(run.done())
    assert steps(found) == [1, 2]
    assert [one.reached for one in found.found] == [0, 1]


def test_a_finite_number_where_torch_saturates(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.call(0, "", 1, None, "Net")
    run.line("scale", 2, dtype="float16", min=-1.0, max=65504.0)
    run.line("y", 3, dtype="float16", min=-65504.0, max=1.0)  # the lowest alone fills masks
    (one,) = origins(run.done()).found
    assert (one.step, one.what, one.cause, one.count) == (1, "saturated", "overflow", None)


def test_a_bad_weight_is_one_origin_in_every_forward(tmp_path: Path) -> None:
    run = Run(tmp_path, nonfinite={"m.weight": {"what": "nan", "index": [3, 7], "count": 1}})
    for forward in range(3):
        run.call(0, "", 10 * forward, 10 * forward + 2, "Net", forward=forward, bad=1)
        step = run.call(1, "m", 10 * forward, 10 * forward + 1, forward=forward, bad=1)
        if not forward:
            run.tensor(step, schema.PARAMETER, "weight", tensor=99, nan=1)
    (one,) = origins(run.done()).found
    assert (one.step, one.cause, one.detail, one.reached) == (1, "parameter", "weight[3, 7]", 5)


@pytest.mark.parametrize("noted", [3, [], {"m.weight": 3}, *({"m.weight": {"index": at}} for at in ("x", [None], []))])
def test_what_a_stranger_notes_of_weights_is_harmless(noted: Any, tmp_path: Path) -> None:
    run = Run(tmp_path, nonfinite=noted)
    step = run.call(0, "m", 1, 2, bad=1)
    run.tensor(step, schema.PARAMETER, "weight", tensor=99, nan=1)
    assert origins(run.done()).found[0].detail == "weight"


def test_a_weight_that_became_nan_after_its_first_call(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for forward in range(2):
        step = run.call(0, "m", 10 * forward, 10 * forward + 1, forward=forward, bad=forward)
        if not forward:
            run.tensor(step, schema.PARAMETER, "weight", tensor=99)
    (one,) = origins(run.done()).found
    assert (one.step, one.cause, one.detail) == (1, "parameter", "a weight that has changed since its first call")


def test_a_later_forward_has_it_from_the_one_before(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.call(0, "", 1, 2, "Net", bad=1)
    run.call(0, "", 3, 4, "Net", came=1, bad=1, forward=1)
    assert steps(origins(run.done())) == [0]
    run = Run(tmp_path)
    run.call(0, "", 3, 4, "Net", came=1, bad=1)
    (one,) = origins(run.done()).found
    assert (one.step, one.cause, one.tensor) == (0, "input", "x")


def test_what_another_process_sent_is_no_origin(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for rank in (0, 1):
        run.call(0, "", 1, 4, "Net", bad=1, rank=rank)
        run.call(1, "part", 1, 2, bad=1 - rank, rank=rank)
        run.call(1, "sum", 2, 4, "AllReduce", came=1 - rank, bad=1, rank=rank)
    found = origins(run.done())
    assert [(one.step, one.name) for one in found.found] == [(1, "part")]


@pytest.mark.parametrize("value", ["auto", "none"])
def test_nan_in_padding_alone_is_innocent_until_it_reaches_a_token(value: str, tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self, reaches: bool) -> None:
            super().__init__()
            self.reaches = reaches

        def forward(self, x: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            y = x / attention_mask[..., None]
            return y.mean(1) if self.reaches else y

    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    for reaches in (False, True):
        path = tmp_path / f"{reaches}.tftrace"
        model = Net(reaches)
        with torch.no_grad(), tftrace.record(model, path=path, level="lines", values=value):
            model(torch.zeros(2, 4, 8), mask)
        found = origins(load(path))
        assert (len(found.found), found.innocent) == ((1, 0) if reaches else (0, 1))


def test_a_generation_over_a_bad_cache_has_one_origin(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 32}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1, pad_token_id=1)).eval()
    with torch.no_grad():
        model.transformer.wte.weight[7] = float("nan")
    with tftrace.record(model, path=tmp_path / "run", level="lines", values="none", check=False):
        model.generate(torch.tensor([[3, 7, 5, 6]]), max_new_tokens=4, min_new_tokens=4, do_sample=False)
    trace = load(tmp_path / "run")
    assert set(trace.column("forward").tolist()) == {0, 1, 2, 3}
    (one,) = origins(trace).found
    assert (one.cause, one.detail, one.name) == ("parameter", "weight[7, 0]", "transformer.wte")


def test_a_sound_generation_that_suppresses_tokens_has_none(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 32}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1, pad_token_id=1)).eval()
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    options: dict[str, Any] = {"attention_mask": mask, "suppress_tokens": [4, 5], "top_k": 3, "do_sample": True}
    with tftrace.record(model, path=tmp_path / "run", level="lines", values="none", check=False):
        model.generate(torch.tensor([[1, 1, 5, 6], [3, 4, 5, 6]]), max_new_tokens=3, min_new_tokens=3, **options)
    assert origins(load(tmp_path / "run")).found == ()


@pytest.mark.parametrize("level", ["lines", "ops"])
def test_memory_that_is_written_later_is_no_origin(level: str, tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = torch.empty(2, 4)
            out[:] = x * 2
            return out + 1

    torch.use_deterministic_algorithms(True)  # torch then fills such memory with NaN
    try:
        with torch.no_grad(), tftrace.record(model := Net(), path=tmp_path / "run", level=level):
            assert model(torch.ones(2, 4)).isfinite().all()
    finally:
        torch.use_deterministic_algorithms(False)
    trace = load(tmp_path / "run")
    assert max(trace.column("nan", "tensors")) == 8 and origins(trace).found == ()
