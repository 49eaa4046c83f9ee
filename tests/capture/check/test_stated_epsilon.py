"""An epsilon that neither the constructor's line nor the configuration states is a difference, however usual it is;
where neither can be read nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import tftrace

pytestmark = pytest.mark.usefixtures("no_grad")
Made = tuple[nn.Module, torch.Tensor]
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99,
}  # fmt: skip
IDS, X = torch.arange(4, 12)[None], torch.randn(2, 6, 8)


def differing(model: nn.Module, *given: torch.Tensor, equation: str = "norm") -> set[str]:
    """The names of the modules whose norm differs."""
    found = verdicts(model, *given, equation=equation)
    return {name for name, verdict in found.items() if verdict == "differs"}


def verdicts(model: nn.Module, *given: torch.Tensor, equation: str = "norm") -> dict[str, str]:
    with tftrace.record(model.eval(), level="lines", values="none") as trace:
        model(*given)
    return {step.name: check.verdict for step in trace for check in step.checks if check.equation.endswith(equation)}


def gpt2() -> Any:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=99))


def bert() -> Any:
    return transformers.BertModel(transformers.BertConfig(**SIZES))


def llama() -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))


def t5() -> Any:
    config = transformers.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return transformers.T5EncoderModel(config)


@pytest.mark.parametrize(
    ("make", "path", "attribute", "value"),
    [
        (gpt2, "transformer.h.1.ln_1", "eps", 1e-6),
        (bert, "encoder.layer.1.output.LayerNorm", "eps", 1e-5),  # as if the argument had been forgotten
        (llama, "model.layers.0.input_layernorm", "variance_epsilon", 1e-5),
        (t5, "encoder.block.1.layer.0.layer_norm", "variance_epsilon", 1e-5),  # in a list that is appended to
    ],
)
def test_an_epsilon_that_is_not_stated_differs(
    make: Callable[[], Any], path: str, attribute: str, value: float
) -> None:
    model = make()
    for weight in model.parameters():  # so that an epsilon matters
        weight.mul_(0.05)
    assert differing(model, IDS) == set()
    setattr(model.get_submodule(path), attribute, value)
    assert differing(model, IDS) == {path}


BY_DEFAULT = partial(nn.LayerNorm, eps=1e-4)


class Own(nn.Module):
    """A model without a configuration: the lines of its constructors say what its epsilons are."""

    def __init__(self, dim: int = 8, eps: float = 1e-3, norm: Any = BY_DEFAULT) -> None:
        super().__init__()
        self.first = nn.LayerNorm(dim)
        self.second = nn.LayerNorm(dim, eps=1e-6)
        self.list = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim, 1e-2))
        self.inner = Inner(dim, 1e-7)
        self.made = norm(dim)
        self.given = nn.LayerNorm(dim, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.given(self.made(self.inner(self.list(self.second(self.first(x * 1e-3))))))  # type: ignore[no-any-return]


class Inner(nn.Module):
    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=epsilon)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x * 1e-3)  # type: ignore[no-any-return]


def test_the_lines_of_constructors_state_it() -> None:
    found = verdicts(Own(), X)
    assert found == dict.fromkeys(["first", "second", "list.1", "inner.norm", "made", "given"], "holds")
    # AND what whoever made the model passed cannot be read
    found = verdicts(Own(eps=2e-3, norm=partial(nn.LayerNorm, eps=2e-4)), X)
    assert {name for name, verdict in found.items() if verdict != "holds"} == {"made", "given"}
    assert found["made"] == found["given"] == "unchecked"


@pytest.mark.parametrize("path", ["first", "second", "list.1", "inner.norm"])
def test_another_one_than_the_line_says_differs(path: str) -> None:
    model = Own()
    setattr(model.get_submodule(path), "eps", 5e-6)  # noqa: B010
    assert differing(model, X) == {path}


def test_a_default_is_no_news() -> None:
    assert verdicts(Own(eps=1e-5), X)["given"] == "holds"


def test_a_module_by_itself_is_what_its_author_made_it() -> None:
    assert verdicts(nn.LayerNorm(8, eps=1e-3), X) == {"": "holds"}


def test_where_nothing_can_be_read_nothing_is_said() -> None:
    made = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8, eps=1e-3))
    with tftrace.record(made.eval(), level="lines") as trace:
        made(X)
    (row,) = [row for row in trace.checks.to_pylist() if row["equation"] == "layer-norm"]
    assert row["verdict"] == "unchecked"
    assert row["reason"] == "e is 0.001, which neither a constructor nor the configuration is seen to state"


def test_an_attribute_that_is_computed_is_not_known() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8, eps=self.small)

        @property
        def small(self) -> float:
            return 1e-3

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x)  # type: ignore[no-any-return]

    class Deleted(Computed):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.little = 1e-3
            self.norm = nn.LayerNorm(8, eps=self.little)
            del self.little

    assert verdicts(Computed(), X) == {"norm": "unchecked"} and verdicts(Deleted(), X) == {"norm": "holds"}


def test_attributes_that_are_said_to_be_each_other_end() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = self.two = 1e-5
            self.norm = nn.LayerNorm(8, eps=self.one)
            self.one = self.two
            self.two = self.one

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x)  # type: ignore[no-any-return]

    assert verdicts(Norm(), X) == {"norm": "holds"}


class Replaced(nn.Module):
    """What was passed to it is not what it passes on."""

    def __init__(self, eps: float = 1e-5, norm: Any = None, other: Any = BY_DEFAULT) -> None:
        super().__init__()
        if norm is None:
            norm = partial(nn.LayerNorm, eps=1e-4)
        eps = eps / 10
        more = {"bias": True}
        self.made = norm(8)
        self.given = nn.LayerNorm(8, eps=eps)
        self.more = other(8, **more)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.more(self.given(self.made(x)))  # type: ignore[no-any-return]


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Replaced(1e-5, None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("made", [Replaced, Around])
def test_an_argument_that_is_replaced_is_not_known(made: Callable[[], nn.Module]) -> None:
    found = {name.rpartition(".")[2]: verdict for name, verdict in verdicts(made(), X).items()}
    # keywords that are written out do not hide what a factory has
    assert found == {"made": "unchecked", "given": "unchecked", "more": "holds"}
