"""The trace tells which tokens each forward took in, the likeliest next ones, and which was really chosen."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

import tftrace
from tftrace.capture.calls import Call, place
from tftrace.capture.measure import next_tokens
from tftrace.capture.measure.next_tokens import NextTokens
from tftrace.capture.watch.generate_calls import GenerateCalls
from tftrace.describe import forward_answers
from tftrace.maintain.merge import merge
from tftrace.maintain.prune import prune
from tftrace.trace.answers import Answer, Answers, AnswersWriter, answers
from tftrace.trace.tokens import along

PROMPT = torch.tensor([[5, 9, 3, 7], [8, 2, 6, 4]])


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    torch.manual_seed(3)
    return GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=40, n_positions=32)).eval()


def recorded(path: Path, model: nn.Module, run: Callable[[], Any], **options: Any) -> tuple[tftrace.Trace, Any]:
    with tftrace.record(model, path, level="modules", prints=False, **options) as trace:
        result = run()
    return trace, result


def texts(found: Answers, root: int) -> list[list[int]]:
    """The whole text of each path through the generation of a forward, with the token that was chosen last."""
    generation = found.generation(root)
    assert generation is not None
    out = []
    for path in generation.paths:
        at = max(k for k, row in enumerate(path) if row >= 0)
        last = next(one for one in found.at(generation.roots[at]) if one.row == path[at])
        out.append(found.text(last).tolist() + found.chosen(last)[-1:])
    return out


def firsts(found: Answers, trace: tftrace.Trace) -> list[Answer]:
    return [found.at(root)[0] for root in np.flatnonzero(trace.parents < 0).tolist() if found.at(root)]


@pytest.mark.parametrize("how", [{}, {"use_cache": False}, {"do_sample": True, "top_k": 0}, {"num_beams": 3}])
def test_what_was_chosen_is_what_generate_returned(tmp_path: Path, model: Any, how: dict[str, Any]) -> None:
    def run() -> Any:
        torch.manual_seed(1)
        return model.generate(PROMPT, attention_mask=torch.ones_like(PROMPT), max_new_tokens=5, pad_token_id=0, **how)

    trace, result = recorded(tmp_path / "run.tftrace", model, run)
    found = answers(trace)
    expected = [[t for t in row if t] for row in result.tolist()]
    assert [[t for t in row if t] for row in texts(found, 0)][:2] == expected
    for one in firsts(found, trace):
        with torch.no_grad():
            shares = model(torch.tensor(found.text(one))[None]).logits[0, -1].double().softmax(-1)
        np.testing.assert_allclose(one.probability, shares.topk(10).values, rtol=1e-4)
        assert one.likeliest.tolist() == shares.topk(10).indices.tolist()
        assert one.entropy == pytest.approx(float(-(shares * shares.log2()).sum()), rel=1e-4)


def test_the_keys_of_a_cached_forward_are_the_whole_text(tmp_path: Path, model: Any) -> None:
    trace, result = recorded(tmp_path / "run.tftrace", model, lambda: model.generate(PROMPT[:1], max_new_tokens=3))
    attentions = [step.position for step in trace.find("transformer.h.0.attn")]
    words = [str(t) for t in result[0].tolist()]
    assert [along(trace, at, 1) for at in attentions[1:]] == [[words[4]], [words[5]]]
    assert [along(trace, at, size, keys=True) for at, size in zip(attentions, (4, 5, 6), strict=True)] == [
        words[:4], words[:5], words[:6]
    ]  # fmt: skip
    assert along(trace, attentions[2], 3, keys=True) == words[3:6]  # a window
    assert along(trace, attentions[2], 8, keys=True) == [*words[:6], "·", "·"]  # a cache with room for more


def test_the_last_token_that_is_not_padding_answers(tmp_path: Path, model: Any) -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    with torch.no_grad():
        trace, _ = recorded(tmp_path / "run.tftrace", model, lambda: model(PROMPT, attention_mask=mask))
        alone = [model(PROMPT[:1, :2]).logits[0, -1], model(PROMPT[1:]).logits[0, -1]]
    rows = answers(trace).at(0)
    assert [one.last for one in rows] == [1, 3]
    for one, logits in zip(rows, alone, strict=True):
        np.testing.assert_allclose(one.probability, logits.softmax(-1).topk(10).values, rtol=1e-4)


def test_an_encoder_decoder_tells_the_decoders_tokens_and_the_source(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=40, decoder_start_token_id=0)
    model: Any = T5ForConditionalGeneration(config).eval()
    ran = lambda: model.generate(PROMPT, max_new_tokens=3, num_beams=2, eos_token_id=39)  # noqa: E731
    trace, result = recorded(tmp_path / "run.tftrace", model, ran)
    found = answers(trace)
    assert texts(found, firsts(found, trace)[-1].root)[:2] == result.tolist()
    cross = [step.position for step in trace.find("*EncDecAttention")][-1]
    assert along(trace, cross, 4, 3, keys=True) == [str(t) for t in PROMPT[1].tolist()]  # each text has two beams
    assert {one.of for one in found.at(0)} == {"input_ids"}
    with torch.no_grad():
        plain, _ = recorded(tmp_path / "plain.tftrace", model, lambda: model(PROMPT, decoder_input_ids=PROMPT[:, :3]))
    assert list(answers(plain).streams(0)) == ["input_ids", "decoder_input_ids"]
    assert [one.tokens.tolist() for one in answers(plain).at(0)] == PROMPT[:, :3].tolist()


class Own(nn.Module):
    """A model of somebody's own, which returns a pair and writes into its buffer of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)

    def forward(self, idx: torch.Tensor, targets: torch.Tensor | None = None) -> tuple[torch.Tensor, None]:
        return self.head(self.table(idx)), None


def test_a_model_of_ones_own_without_tokenizer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own, ids = Own(), torch.zeros(1, 6, dtype=torch.long)

    def run() -> None:
        for at in range(1, 4):
            ids[0, at] = own(ids[:, :at], ids)[0][0, -1].argmax()

    trace, _ = recorded(tmp_path / "run.tftrace", own, run)
    found = answers(trace)
    assert [list(found.streams(one.root)) for one in firsts(found, trace)] == [["idx"]] * 3
    assert [one.tokens.tolist() for one in firsts(found, trace)] == [ids[0, :at].tolist() for at in (1, 2, 3)]
    assert [found.chosen(one) for one in firsts(found, trace)] == [[int(ids[0, 1])], [int(ids[0, 2])], []]
    assert found.words([4, -1]) == ["4", "…"]


@pytest.mark.parametrize("name", ["past_key_values", "cache"])
def test_a_loop_of_ones_own_with_a_cache(tmp_path: Path, model: Any, name: str) -> None:
    """Transformers 5.24 has renamed the argument; what is kept is told by the length of the cache."""
    if name == "cache" and name not in inspect.signature(GPT2LMHeadModel.forward).parameters:
        pytest.skip("this version of transformers has no such argument")

    def run() -> list[int]:
        ids, past, made = PROMPT[:1], None, PROMPT[0].tolist()
        for _ in range(3):
            with torch.no_grad():
                out = model(ids, **{name: past}, use_cache=True)
            past, ids = out.get(name, out.past_key_values), out.logits[:, -1:].argmax(-1)
            made += ids[0].tolist()
        return made

    trace, made = recorded(tmp_path / "run.tftrace", model, run)
    found = answers(trace)
    assert [found.text(one).tolist() for one in firsts(found, trace)] == [made[:4], made[:5], made[:6]]
    assert [one.past for one in firsts(found, trace)] == [0, 4, 5]


def test_a_tokenizer_is_found_where_the_model_is_called(tmp_path: Path, model: Any) -> None:
    class Words:
        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return [f"Ġw{one}" for one in ids]

    tokenizer = Words()
    trace, _ = recorded(tmp_path / "run.tftrace", model, lambda: tokenizer and model(PROMPT))
    assert answers(trace).words([5]) == ["␣w5"]


def test_nothing_waits_for_an_accelerator_while_the_model_runs(model: Any, tmp_path: Path) -> None:
    """Whatever reads a number on the host would wait."""

    class Strict(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            assert not any(word in str(func) for word in ("local_scalar", "nonzero", "masked_select", "unique")), func
            return func(*args, **(kwargs or {}))

    taken, call = NextTokens(tmp_path), Call(place("module", "", "Model"))
    call.owner, call.arguments = model, {"input_ids": PROMPT, "attention_mask": torch.ones_like(PROMPT)}
    with torch.no_grad(), Strict():  # type: ignore[no-untyped-call]
        taken.begin(call, PROMPT)
        taken.end(call, {"logits": torch.randn(2, 4, 40)})
    taken.write()
    assert (tmp_path / "answers.arrow").exists()


def test_generate_is_watched_once_transformers_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "transformers.generation.utils"
    module: Any = sys.modules[name]
    before = module.GenerationMixin.generate
    with monkeypatch.context() as without:
        without.delitem(sys.modules, name)
        watched: Any = GenerateCalls(None, NextTokens(tmp_path))  # type: ignore[arg-type]
        watched.attach()
        nn.Sequential(nn.Linear(1, 1))
        assert module.GenerationMixin.generate is before
    nn.Sequential(nn.Linear(1, 1))
    assert module.GenerationMixin.generate is not before
    watched.detach()
    assert module.GenerationMixin.generate is before


def test_what_generate_returns_are_not_always_tokens(tmp_path: Path, model: Any) -> None:
    def sound(model: Any, input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        model(input_ids)
        return torch.rand(1, 30)

    trace, _ = recorded(tmp_path / "run.tftrace", model, lambda: model.generate(PROMPT, custom_generate=sound))
    (root,) = np.flatnonzero(trace.parents < 0).tolist()
    assert answers(trace)._returned(root) == [] and len(answers(trace).at(root)) == 2


def test_room_merging_pruning_and_damage(tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, _ = recorded(tmp_path / "run.tftrace", model, lambda: model(PROMPT))
    file = trace.path / "rank-00000" / "answers.arrow"
    prune(trace.path, "none", prints=False)
    assert file.exists()
    monkeypatch.setattr("tftrace.maintain.merge._check", lambda traces, target: None)
    assert answers(merge([trace.path], tmp_path / "merged.tftrace")).at(0)[1].tokens.tolist() == PROMPT[1].tolist()
    file.write_bytes(file.read_bytes()[:200] + b"x" * 400)
    trace.reload()
    assert not answers(trace)
    assert not answers(tftrace.load(trace.path)).at(0)
    monkeypatch.setattr(next_tokens, "BUDGET", 100)
    trace, _ = recorded(tmp_path / "full.tftrace", model, lambda: model(PROMPT))
    assert trace.meta["answers"] == next_tokens.FULL and not answers(trace)
    trace, _ = recorded(tmp_path / "full.tftrace", model, lambda: model(PROMPT), overwrite=True)  # replaceable


def test_rows_that_contradict_each_other_are_read_all_the_same(tmp_path: Path, model: Any) -> None:
    """A trace may be a stranger's: a text may claim more than there was, or be shorter than the one it goes on from."""
    trace, _ = recorded(tmp_path / "run.tftrace", model, lambda: [model(PROMPT[:1]) for _ in range(3)])
    roots = np.flatnonzero(trace.parents < 0).tolist()
    file = AnswersWriter(trace.path / "rank-00000")
    shares: list[float] = [0.5]
    file.write(
        (int(trace.column("step")[root]), "ids", 0, past, 0, 7, 1.0, [tokens], before, [3], shares)
        for root, past, tokens, before in ((roots[0], 2, 5, [8]), (roots[1], 6, 4, []), (roots[2], 0, 9, []))
    )
    file.close()
    found = answers(tftrace.load(trace.path))
    texts = [found.text(found.at(root)[0]).tolist() for root in roots]
    assert texts == [[8, -1, 5], [8, -1, 5, -1, -1, -1, 4], [9]]
    generation = found.generation(roots[0])
    assert generation is not None and [found.next_of(generation, 0, at) for at in range(3)] == [-1, None, None]
    assert [one.newest for root in roots for one in forward_answers(tftrace.load(trace.path), root)] == ["", "", ""]
