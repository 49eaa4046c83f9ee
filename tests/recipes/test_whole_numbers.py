"""Equations over integers have a bound of zero, which must not be divided by, and decide what they compare."""

from pathlib import Path

import pytest
import torch

import tftrace


def test_an_equation_over_whole_numbers_holds_exactly() -> None:
    model = torch.nn.Sequential(torch.nn.Identity())
    with tftrace.record(model) as trace:
        model(torch.arange(6))
    (row,) = (row for row in trace.checks.to_pylist() if row["equation"] == "identity")
    assert (row["verdict"], row["residual"], row["bound"]) == ("holds", 0.0, 0.0)


class Halves(torch.nn.Module):
    """The second half of the features changes its sign; `from_` says where it begins."""

    def __init__(self, from_: int) -> None:
        super().__init__()
        self.from_ = from_

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., : self.from_], -x[..., self.from_ :]], -1)


HALVES = """[[equation]]
id = "halves"
cite = "none"
tex = "y"
note.en = "The second half changes its sign."
note.zh = "后一半变号。"
formula = "out = where(2 * pos(D) < D, x, -x)"
dims = { x = "T D", out = "T D" }
[[equation.bind]]
class = ["Halves"]
x = "arg:x"
out = "return"
"""


@pytest.mark.parametrize("check", [8, "all"])
@pytest.mark.parametrize(("from_", "verdict"), [(4, "holds"), (5, "differs"), (3, "differs")])
def test_positions_decide_exactly(from_: int, verdict: str, check: int | str, tmp_path: Path) -> None:
    recipe = tmp_path / "halves.toml"
    recipe.write_text(HALVES)
    model = Halves(from_)
    with tftrace.record(model, recipes=recipe, check=check) as trace:
        model(torch.randn(1, 8))
    (row,) = (row for row in trace.checks.to_pylist() if row["equation"] == "halves")
    assert (row["verdict"], row["cells"]) == (verdict, 8)
