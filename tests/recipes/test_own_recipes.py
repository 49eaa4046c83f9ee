"""A user's own recipes: where they are found, what they can name, and that they can fail."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import tftrace
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.recipes.formula.functions import SIGNATURES

pytestmark = pytest.mark.usefixtures("no_grad")


def entry(identifier: str, formula: str, dims: str, **binds: str) -> str:
    """An equation in TOML; `_kind` of the binds is the line that says which steps it describes."""
    lines = [f"id = {identifier!r}", "cite = 'ours'", "tex = 'y'", f"formula = {formula!r}", f"dims = {{ {dims} }}"]
    lines += ["[[equation.bind]]", binds.pop("_kind"), *(f"{symbol} = {source!r}" for symbol, source in binds.items())]
    return "\n".join(["[[equation]]", *lines, ""])


def recorded(recipe: str, model: nn.Module, folder: Path, *inputs: Any) -> dict[str, Any]:
    """The first check of each equation."""
    file = folder / "own.toml"
    file.write_text(recipe, encoding="utf-8")
    with tftrace.record(model, recipes=file) as trace:
        model(*inputs)
    return {row["equation"]: row for row in reversed(trace.checks.to_pylist())}


class Layer(nn.Module):
    """One layer of a stack, in the manner of a family nobody has a recipe for."""

    def __init__(self, config: Any, number: int) -> None:
        super().__init__()
        self.config, self.number = config, number
        self.up_proj, self.gate_proj, self.down_proj = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)
        self.factor = 1.0

    def forward(self, x: torch.Tensor) -> Any:
        gate = torch.nn.functional.silu(self.gate_proj(x)) * self.factor
        return x + self.down_proj(gate * self.up_proj(x))


class Stack(nn.Module):
    layers: Any  # a list of layers

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, n) for n in range(3))
        self.drop = nn.Identity()
        self.skipped = False

    def forward(self, x: torch.Tensor) -> Any:
        x = self.drop(x)
        for layer in self.layers:
            x = layer(x) if not self.skipped else layer(x * 1.001)
        return self.drop(x)


CONFIG = SimpleNamespace(act="silu", nested={"scale": [1.0, 2.0]}, sizes={"layers": 3})

MLP = entry(
    "mlp",
    "h = act(g, A) * u * s; out = x + h @ T(W) + b",
    "x = '* E', g = '* F', u = '* F', h = '* F', W = 'E F', b = 'E', out = '* E'",
    _kind="structure = { children = ['gate_proj | w1', 'up_proj'], without = ['router'] }",
    x="arg:x", g="return of gate_proj | return of w1", u="return of up_proj", h="arg:input of down_proj",
    W="param:down_proj.weight", b="param:down_proj.bias", A="config:act", s="config:nested.scale[0]", out="return",
)  # fmt: skip
CHAIN = entry(
    "chain", "where(n == m + 1, p, p * 0) + o * 0", "p = '*', o = '*', out = '*'",
    _kind="base = 'Layer'\nunless = { index = 0 }",
    p="return of <", n="index", m="index of <", o="arg:x of ..", out="arg:x",
)  # fmt: skip
ENDS = entry(
    "ends", "first = x; out = y", "x = '*', first = '*', y = '*', out = '*'", _kind="class = 'Stack'",
    x="arg:x", first="return of drop#0", y="return of layers.2", out="return of drop#-1",
)  # fmt: skip


def test_a_structure_a_chain_a_configuration_and_calls_of_one_name(tmp_path: Path) -> None:
    model = Stack(CONFIG)
    found = recorded(MLP + CHAIN + ENDS, model, tmp_path, torch.randn(2, 5, 8))
    # the general recipe of a structure stands behind that of a base class, which is not there for the first layer
    assert {e: r["verdict"] for e, r in found.items() if e in ("mlp", "chain", "ends")} == dict.fromkeys(
        ("mlp", "chain", "ends"), "holds"
    )
    # WHEN a layer computes something else THEN its equation differs
    model.layers[0].factor = 1.001
    assert recorded(MLP, model, tmp_path, torch.randn(2, 5, 8))["mlp"]["verdict"] == "differs"
    # AND when what goes into a layer is not what the one before returned, or two are swapped
    model.layers[0].factor, model.skipped = 1.0, True
    assert recorded(CHAIN, model, tmp_path, torch.randn(2, 5, 8))["chain"]["verdict"] == "differs"
    model.skipped = False
    model.layers.forward = None  # a list of modules has none
    model.layers._modules = dict(zip(("0", "2", "1"), model.layers._modules.values(), strict=True))
    assert recorded(CHAIN, model, tmp_path, torch.randn(2, 5, 8))["chain"]["verdict"] == "differs"


def test_a_layer_that_is_left_out_does_not_put_another_before_the_next(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(CHAIN, encoding="utf-8")
    model, found = Stack(CONFIG), []
    for out in ("layers.0", "layers.1", "layers.2"):
        with tftrace.record(model, recipes=file, exclude=out) as trace:
            model(torch.ones(1, 1, 8))
        rows = trace.checks.to_pylist()
        found.append([(trace[row["step"]].name, row["verdict"]) for row in rows if row["equation"] == "chain"])
    second, third = "layers.1", "layers.2"
    assert found == [[(second, "unchecked"), (third, "holds")], [(third, "unchecked")], [(second, "holds")]]


def test_the_configuration_says_what_is_right_not_the_module(tmp_path: Path) -> None:
    model = Stack(SimpleNamespace(act="gelu", nested={"scale": [1.0]}))
    assert recorded(MLP, model, tmp_path, torch.randn(2, 5, 8))["mlp"]["verdict"] == "differs"
    model = Stack(SimpleNamespace(act="nonsense", nested={"scale": [1.0]}))
    row = recorded(MLP, model, tmp_path, torch.randn(2, 5, 8))["mlp"]
    assert row["verdict"] == "unchecked" and "'nonsense', which is not a known activation" in row["reason"]


class Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = 3.0

    def forward(self, x: torch.Tensor) -> Any:
        return x + 1


class Times(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = Part()

    def forward(self, x: torch.Tensor) -> Any:
        return self.part(x) * self.part.factor


def test_the_line_of_a_parts_constructor_says_what_is_right(tmp_path: Path) -> None:
    kind = {"_kind": 'class = "Times"'}
    recipe = entry(
        "times",
        "out = y * f",
        'y = "* C", out = "* C"',
        **kind,
        y="return of part",
        f="init:factor of part",
        out="return",
    )
    model = Times()
    assert recorded(recipe, model, tmp_path, torch.ones(2, 3))["times"]["verdict"] == "holds"
    model.part.factor = 2.0
    assert recorded(recipe, model, tmp_path, torch.ones(2, 3))["times"]["verdict"] == "differs"


def test_a_convolution_is_read_through_windows(tmp_path: Path) -> None:
    recipe = entry(
        "conv", "dot(window(x, Y, P, K, s, p, d, X, Q, L, t, q, e), W, C, K, L) + b",
        "x = 'B (G C) Y X', W = '(G O) C K L', b = '(G O)', out = 'B (G O) P Q'",
        _kind="module = 'torch.nn.Conv2d'", x="arg:input", W="param:weight", b="param:bias | 0", G="attr:groups",
        s="attr:stride[0]", p="attr:padding[0]", d="attr:dilation[0]", t="attr:stride[1]", q="attr:padding[1]",
        e="attr:dilation[1]", out="return",
    )  # fmt: skip
    x = torch.randn(2, 6, 9, 11)
    for groups, options in ((1, {}), (3, {"padding": (1, 2), "stride": (2, 1)}), (6, {"dilation": 2, "padding": 2})):
        conv = nn.Conv2d(6, 6, 3, groups=groups, **options)
        row = recorded(recipe, conv, tmp_path, x)["conv"]
        assert row["verdict"] == "holds" and 0 < row["cells"] <= 64, row
    conv.register_forward_hook(lambda m, a, out: out.roll(1, -1))
    assert recorded(recipe, conv, tmp_path, x)["conv"]["verdict"] == "differs"


@pytest.mark.parametrize("check", [True, "all"])
def test_a_transposed_convolution_is_read_through_windows(check: Any, tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {}, {"stride": 3}, {"stride": (2, 1), "padding": (1, 2), "output_padding": (1, 0)},
        {"dilation": 2, "padding": 2}, {"groups": 3, "stride": 2, "dilation": (1, 3)}, {"bias": False, "stride": 4},
    ]  # fmt: skip
    for options in ways:
        with tftrace.record(conv := nn.ConvTranspose2d(6, 6, 3, **options), check=check) as trace:
            conv(torch.randn(2, 6, 5, 4))
        (row,) = trace.checks.to_pylist()
        assert (row["equation"], row["verdict"]) == ("conv-transpose-2d", "holds"), (options, row)
    recipe = entry("still", "dot(unwindow(x, X, Q, L, 0, 0, 1), W, C, L)", "x = 'B C X', W = 'C O L', out = 'B O Q'",
                   _kind="module = 'torch.nn.ConvTranspose1d'", x="arg:input", W="param:weight",
                   out="return")  # fmt: skip
    row = recorded(recipe, nn.ConvTranspose1d(2, 3, 2), tmp_path, torch.randn(2, 2, 5))["still"]
    assert row["verdict"] == "unchecked" and "unwindow() cannot go 0 positions" in row["reason"]


def test_a_projects_recipes_are_found_and_an_own_one_takes_the_place_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    own = entry("linear", "x @ T(A)", "x = '* I', A = 'O I', out = '* O'", _kind="module = 'torch.nn.Linear'",
                x="arg:input", A="param:weight", out="return")  # fmt: skip
    (tmp_path / "recipes" / "mine.toml").write_text(own)
    (tmp_path / "tftrace.toml").write_text('recipes = ["recipes"]')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    with tftrace.record(nn.Linear(4, 3)) as trace:
        trace_model = nn.Linear(4, 3)
    model = nn.Linear(4, 3)
    with tftrace.record(model) as trace:
        model(torch.randn(2, 4))
    assert [r.verdict for r in trace[0].checks] == ["differs"]  # ours has a bias, and it does not say so
    assert trace.meta["equations"]["linear"]["cite"] == "ours" and trace_model is not None


def test_what_is_wrong_with_own_recipes_is_said_before_the_model_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TraceError, match="There are no recipes at"):
        tftrace.record(nn.Linear(4, 3), recipes=tmp_path / "missing.toml")
    with pytest.raises(TraceError, match=r"There are no recipes \(\*.toml\) in"):
        tftrace.record(nn.Linear(4, 3), recipes=[tmp_path])
    (tmp_path / "bad.toml").write_text(entry("x", "x +", "x = '*'", _kind="class = 'A'", x="arg:x"))
    assert main(["record", "demo:bert", "-o", str(tmp_path / "run"), "--recipes", str(tmp_path)]) == 2
    assert "bad.toml, equation 'x': The formula ends" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_example_of_the_documentation_checks(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
    recipe = text.partition("```toml\n")[2].partition("```")[0]

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Linear(8, 5, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.proj(x))

    gate, x = Gate(), torch.randn(2, 3, 8)
    assert recorded(recipe, gate, tmp_path, x)["gate"]["verdict"] == "holds"
    gate.register_forward_hook(lambda module, args, out: out * 1.001)
    assert recorded(recipe, gate, tmp_path, x)["gate"]["verdict"] == "differs"
    # AND every function that the language has stands in its table
    table = text.partition("## Formulas")[2].partition("## Variants")[0]
    assert not [name for name in SIGNATURES if not re.search(rf"(?<!\w){name}(?!\w)", table)]


class Passing(nn.Module):
    """Hands on what it got, in two parts; `slip` is what comes in between."""

    def __init__(self, slip: float) -> None:
        super().__init__()
        self.first, self.second, self.slip = nn.Linear(8, 8), nn.Linear(8, 8), slip

    def forward(self, x: torch.Tensor) -> Any:
        x = self.first(x)
        if self.slip:
            x = x + self.slip
        return self.second(x)


@pytest.mark.parametrize("slip", [0.0, 0.5])
def test_several_tensors_that_are_passed_on_are_known_without_reading_only_if_they_are_the_same(
    slip: float, tmp_path: Path
) -> None:
    recipe = entry(
        "passing", "b = a; out = y", "a = '*', b = '*', y = '*', out = '*'", _kind="class = 'Passing'",
        a="return of first", b="arg:input of second", y="return of second", out="return",
    )  # fmt: skip
    row = recorded(recipe, Passing(slip), tmp_path, torch.randn(3, 8))["passing"]
    if slip:
        assert row["verdict"] == "differs" and row["residual"] == pytest.approx(slip) and row["reason"].startswith("b ")
    else:
        assert row["verdict"] == "holds" and (row["residual"], row["bound"], row["cells"]) == (0.0, 0.0, 48)
