"""The rows of a model's output that are its answer, and how far another answer is from it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from ...capture.edit.result_tensor import find
from ...errors import TraceError
from .runs_again import Rerun

METRICS = ("logit:TOKEN", "label", "kl", "l2")
_LOGIT = re.compile(r"logit:(.+)", re.DOTALL)
_MOST = 5  # likeliest words that are told
Metric = Callable[[torch.Tensor, torch.Tensor], float]


class Answers:
    """Reads the answers of a model.

    Args:
        runs: The model and its input.
    """

    def __init__(self, runs: Rerun) -> None:
        self._runs = runs
        self._config = getattr(runs.model, "config", None)

    def rows(self, output: Any) -> tuple[torch.Tensor, bool]:
        """The rows of an output that answer the first text, in float32, and whether they are logits.

        Returns:
            Of logits those of the class, [1, classes]; of the last token, [1, words]; of each masked token; or, where
            an encoder-decoder or a tagger answers, of each token, [tokens, words]. Else the first floating-point
            tensor, [1, numbers].

        Raises:
            TraceError: There is no floating-point tensor in the output.
        """
        logits = getattr(output, "logits", None)
        if not isinstance(logits, torch.Tensor) or logits.dim() not in (2, 3):
            found = find(output)
            if found is None:
                raise TraceError("The model returns no floating-point tensor to measure an effect on.")
            tensor = found[1].detach().float()
            plain = self._runs.loaded is None and tensor.dim() == 2
            return (tensor[:1], True) if plain else (tensor.reshape(1, -1), False)
        first = logits[0].detach().float()
        if first.dim() == 1:
            return first[None], True
        return first[self._places(len(first))], True

    def _places(self, size: int) -> list[int]:
        """Which tokens of the first text have the answer."""
        kind, inputs = type(self._runs.model).__name__, self._runs.inputs
        if getattr(self._config, "is_encoder_decoder", False) or "TokenClassification" in kind or "CTC" in kind:
            return list(range(size))
        ids, mask = inputs.get("input_ids"), getattr(self._runs.tokenizer, "mask_token_id", None)
        if "Masked" in kind or "PreTraining" in kind:
            holes = [] if ids is None or mask is None else (ids[0] == mask).nonzero().flatten().tolist()
            return holes or list(range(size))
        seen = inputs.get("attention_mask")
        last = int(seen[0].nonzero().max()) if seen is not None and seen.shape[-1] == size else size - 1
        return [last]

    def words(self, rows: torch.Tensor) -> list[tuple[str, float]]:
        """The likeliest words, or labels, with their probabilities; of several tokens the whole text, with the mean."""
        shares = rows.softmax(-1)
        if len(rows) > 1:
            best = shares.max(-1)
            return [(f"“{self._text(best.indices.tolist())}”", float(best.values.mean()))]
        shares = shares[0]
        most = shares.topk(min(_MOST, len(shares)))
        return [(self.word(int(at)), float(share)) for share, at in zip(most.values, most.indices, strict=True)]

    def _text(self, ids: list[int]) -> str:
        tokenizer = self._runs.tokenizer
        words = [self.word(at) for at in ids]
        labels = "Classification" in type(self._runs.model).__name__ or tokenizer is None
        return " ".join(words) if labels else str(tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def choices(self, before: torch.Tensor, after: torch.Tensor) -> list[tuple[str, float, float]]:
        """The likeliest words of either answer with their probabilities in both, of the row that changes most."""
        row = int((after - before).abs().amax(-1).argmax()) if len(before) > 1 else 0
        one, other = before[row].softmax(-1), after[row].softmax(-1)
        most = min(_MOST, len(one))
        best = dict.fromkeys([*one.topk(most).indices.tolist(), *other.topk(most).indices.tolist()])
        return [(self.word(at), float(one[at]), float(other[at])) for at in best]

    def word(self, at: int) -> str:
        """A label or a token as text; its number if neither is known."""
        labels = getattr(self._config, "id2label", None) or {}
        if "Classification" in type(self._runs.model).__name__ and at in labels:
            return str(labels[at])
        tokenizer = self._runs.tokenizer
        return str(at) if tokenizer is None else str(tokenizer.decode([at]))

    def metric(self, name: str | None, logits: bool) -> tuple[str, Metric]:
        """The name and the function of a metric of an answer against the one without edits.

        Args:
            name: `logit:TOKEN`, `label`, `kl` or `l2`; by default `label` if there are logits, else `l2`.
            logits: Whether the answer is logits.

        Raises:
            TraceError: There is no such metric or token, or the model gives no logits.
        """
        name = name or ("label" if logits else "l2")
        if name == "l2":
            return name, _distance
        if name in ("label", "kl") or _LOGIT.fullmatch(name):
            if not logits:
                raise TraceError(f"{type(self._runs.model).__name__} returns no logits: choose --metric l2.")
            if name == "label":
                return name, _label
            return (name, _divergence) if name == "kl" else (name, self._logit(name.removeprefix("logit:")))
        raise TraceError(f"There is no metric {name}: choose {', '.join(METRICS[:-1])} or {METRICS[-1]}.")

    def _logit(self, word: str) -> Metric:
        at = self._number(word)

        def change(before: torch.Tensor, after: torch.Tensor) -> float:
            if at >= before.shape[-1]:
                raise TraceError(f"There is no token {word}: the model answers with {before.shape[-1]} words.")
            return float((after[:, at] - before[:, at]).mean())

        return change

    def _number(self, word: str) -> int:
        labels = getattr(self._config, "label2id", None) or {}
        if "Classification" in type(self._runs.model).__name__ and word in labels:
            return int(labels[word])
        tokenizer = self._runs.tokenizer
        if tokenizer is not None:
            known = tokenizer.get_vocab()
            ways = [word, *(tokenizer.tokenize(text) for text in (word, f" {word}"))]
            names = [way if isinstance(way, str) else way[0] for way in ways if isinstance(way, str) or len(way) == 1]
            found = next((known[name] for name in names if name in known), None)
            if found is not None:
                return int(found)
        if word.isascii() and word.isdigit():
            return int(word)
        raise TraceError(f"There is no token {word}: name a label, a token of the vocabulary, or its number.")


def _label(before: torch.Tensor, after: torch.Tensor) -> float:
    """How the probability of what was the likeliest changes, on average over the rows."""
    best = before.argmax(-1, keepdim=True)
    return float((after.softmax(-1).gather(-1, best) - before.softmax(-1).gather(-1, best)).mean())


def _divergence(before: torch.Tensor, after: torch.Tensor) -> float:
    """The Kullback-Leibler divergence of the answer after from that before, in nats, on average over the rows."""
    one, other = before.double().log_softmax(-1), after.double().log_softmax(-1)
    return float((one.exp() * (one - other)).sum(-1).mean().clamp(min=0))


def _distance(before: torch.Tensor, after: torch.Tensor) -> float:
    """The relative l2 difference."""
    norm = float(before.norm()) or 1.0
    return float((after - before).norm()) / norm
