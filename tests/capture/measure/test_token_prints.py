"""Token prints: the same whoever computes them, whatever the layout; near for what is near; and never in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tftrace
from tftrace.capture import recording
from tftrace.capture.measure import token_prints
from tftrace.capture.measure.token_prints import TokenPrints
from tftrace.capture.quick import quick_calls
from tftrace.errors import TraceError
from tftrace.trace.prints import LANES, axes, print_of, read, weights


def kept(folder: Path, *tensors: torch.Tensor) -> list[dict[int, np.ndarray]]:
    """The prints of tensors, by axis, written and read again."""
    rank = folder / "rank-00000"
    rank.mkdir(parents=True)
    taken = TokenPrints(rank, ())
    for number, tensor in enumerate(tensors):
        dtype = str(tensor.dtype).removeprefix("torch.")
        taken.keep((number, tuple(tensor.shape), dtype, "", 0, 0, ()), tensor, "", "output")
    taken.write()
    taken.close()
    found = read(folder, 0)
    return [{axis: one for (of, axis), one in found.items() if of == number} for number in range(len(tensors))]


SHAPES = [(5, 7), (2, 6, 8), (2, 3, 6, 8), (2, 3, 5, 13), (1, 1, 1), (3, 4, 33)]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_they_are_what_the_definition_says(
    tmp_path: Path, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(token_prints, "compiled", None)
    plain = [torch.randn(shape).to(dtype) for shape in SHAPES]
    every = [*plain, *(x.transpose(-1, -2) for x in plain), *(x[..., ::2] for x in plain), torch.ones(3, 1).to(dtype)]
    every.append(torch.randn(4, 1, 6).to(dtype).expand(4, 5, 6))
    for tensor, found in zip(every, kept(tmp_path, *every), strict=True):
        assert tuple(found) == axes(tuple(tensor.shape))
        for axis, prints in found.items():
            # `print_of` is written anew here, number by number
            ahead = tensor[None] if axis == 0 else tensor.movedim(axis, 1)
            flat = ahead.flatten(2).double()
            said = torch.zeros(*flat.shape[:2], LANES, dtype=torch.float64)
            for j in range(flat.size(2)):
                said[..., j % LANES] += flat[..., j] * float(weights(flat.size(2))[j])
            torch.testing.assert_close(torch.from_numpy(prints.copy()), said.float(), rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(print_of(tensor.double().numpy(), axis), said.float(), rtol=1e-6, atol=1e-6)


def test_what_torch_made_is_written_within_a_transform(tmp_path: Path) -> None:
    taken, half = TokenPrints(tmp_path, ()), torch.randn(3, 8).half()  # which is not compiled
    taken.keep((0, (3, 8), "float16", "", 0, 0, ()), half, "", "output")

    def written(x: torch.Tensor) -> torch.Tensor:
        taken.write()
        return x.sum()

    torch.func.grad(written)(torch.ones(3))
    taken.close()
    assert (tmp_path / "prints.arrow").stat().st_size > 3 * 4 * LANES


def test_the_weights_are_those_of_splitmix64() -> None:
    state, mask, words = 0, (1 << 64) - 1, []
    for _ in range(100):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        words.append(z ^ (z >> 31))
    assert words[0] == 0xE220A8397B1DCDAF  # the first number of the reference implementation, seeded with 0
    expected = [(2 * ((word >> 11) / 2**53) - 1) * 3**0.5 for word in words]
    np.testing.assert_array_equal(weights(100), np.array(expected, np.float32))
    many = weights(100_000).astype(float)
    assert abs(many.mean()) < 0.01 and abs(many.std() - 1) < 0.01


def test_the_layout_changes_nothing(tmp_path: Path) -> None:
    batch, heads, tokens, width = 2, 4, 6, 8
    merged = torch.randn(batch, tokens, heads * width)
    split = merged.view(batch, tokens, heads, width)
    first, second, third, flat = kept(tmp_path, merged, split, split.transpose(1, 2), merged.flatten(0, 1))
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[1], third[2])
    np.testing.assert_array_equal(first[1].reshape(1, -1, LANES), flat[0])


def test_their_distance_is_that_of_the_vectors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 400, 96)
    near = x + 1e-4 * torch.randn_like(x)
    one, other = kept(tmp_path, x, near)
    estimated = np.square(one[1] - other[1]).sum(-1)[0]
    true = (x - near).square().sum(-1)[0].numpy()
    assert 0.9 < (estimated / true).mean() < 1.1
    swapped = x.clone()
    swapped[0, 3, [0, 8]] = x[0, 3, [8, 0]]  # two entries of one lane change places
    (after,) = kept(tmp_path / "swapped", swapped)
    assert np.abs(after[1] - one[1])[0, 3].max() > 1e-3 and np.array_equal(after[1][0, :3], one[1][0, :3])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Embedding(11, 8), nn.Linear(8, 8)

    def forward(self, ids: torch.Tensor) -> Any:
        return self.mix(self.embed(ids)).sum(-1)


def recorded(path: Path, **options: Any) -> tftrace.Trace:
    torch.manual_seed(0)
    model = Net()
    with tftrace.record(model, path, **{"level": "modules", "values": "none"} | options) as trace:
        model(torch.arange(6).view(2, 3))
    return trace


def test_a_recording_has_them_of_what_is_not_kept_whole(tmp_path: Path) -> None:
    trace = recorded(tmp_path / "a.tftrace")
    found = read(trace.path, 0)
    rows = {row.tensor: row for step in trace for row in step.tensors}
    floats = {number for number, row in rows.items() if row.dtype == "float32" and row.role != "parameter"}
    assert {number for number, _ in found} == {number for number in floats if len(rows[number].shape) > 1}
    again = recorded(tmp_path / "b.tftrace", values="all")
    assert not read(again.path, 0)
    # THEN a print is what one makes of the value that the other kept
    row = next(row for row in again[1].tensors if row.role == "output")
    same = next(one for one in trace[1].tensors if one.role == "output")
    value = again[1].value(row.name)
    np.testing.assert_array_equal(found[same.tensor, 1], print_of(value, 1))
    assert not (recorded(tmp_path / "c.tftrace", prints=False).path / "rank-00000" / "prints.arrow").exists()


def test_the_room_is_kept_to_and_its_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_prints, "BUDGET", 4 * 2 * 3 * LANES)
    trace = recorded(tmp_path / "a.tftrace")
    assert len(read(trace.path, 0)) == 1 and trace.meta["prints"] == token_prints.FULL
    monkeypatch.undo()
    assert "prints" not in recorded(tmp_path / "b.tftrace").meta


def test_what_cannot_be_printed_is_left_alone(tmp_path: Path) -> None:
    class Odd(torch.Tensor):
        @classmethod
        def __torch_function__(cls, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("not mine")

    odd = torch.randn(2, 3).as_subclass(Odd)
    rest = [torch.arange(6).view(2, 3), torch.randn(4), torch.randn(1, 2, 3, 4, 5), torch.randn(2, 0, 3)]
    rest += [torch.randn(2, 3, dtype=torch.complex64), torch.randn(2, 3).to_sparse(), torch.empty(2, 3, device="meta")]
    taken = TokenPrints(tmp_path, ())
    taken.keep((0, (2, 3), "float32", "", 0, 0, ()), odd, "", "output")
    assert not any(kept(tmp_path / "rest", *rest))


def test_a_forward_that_is_not_kept_leaves_none(tmp_path: Path) -> None:
    model = Net()

    @tftrace.traced(path=tmp_path / "w.tftrace", when="nan > 0", level="modules")
    def run(ids: torch.Tensor) -> Any:
        return model(ids)

    run(torch.arange(6).view(2, 3))
    assert not read(tmp_path / "w.tftrace", 0)


def test_a_damaged_file_is_said_to_be(tmp_path: Path) -> None:
    trace = recorded(tmp_path / "a.tftrace")
    file = trace.path / "rank-00000" / "prints.arrow"
    content = bytearray(file.read_bytes())
    content[200:260] = b"\xff" * 60
    file.write_bytes(content)
    with pytest.raises(TraceError):
        read(trace.path, 0)


@pytest.mark.parametrize("settles", [False, True])
def test_within_vmap_there_are_none_and_the_recording_goes_on(settles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.low = nn.Linear(4, 4), nn.Identity()

        def forward(self, x: torch.Tensor) -> Any:
            half = self.low(x.to(torch.float16))  # its print is not read before rows are written
            torch.func.grad(lambda one: self.part(one).sum() + 0 * self.low(half + 1).sum())(x[0].detach())
            return torch.vmap(self.part)(x)

    if settles:  # at each step, as if a second had passed
        monkeypatch.setattr(quick_calls, "compiled", None)
        monkeypatch.setattr(recording, "_NANOSECONDS", -1)
    with tftrace.record(model := Net(), level="modules", values="none") as trace:
        model(torch.ones(2, 3, 4))
    assert trace.meta.get("failure") is None and trace.meta["complete"] and len(trace) == 5
    assert read(trace.path, 0)
