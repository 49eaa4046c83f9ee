"""Takes the tokens that forwards take in, and the likeliest tokens after the last of them (`tftrace.trace.answers`).

Only the last position's logits are read. What is computed on an accelerator stays there until rows are written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ...trace.answers import LIKELIEST, RETURNED, AnswersWriter
from ..calls import Call
from .fetched import fetched

BUDGET = 64 << 20  # bytes of tokens that a recording keeps
FULL = "The room for tokens was full, so that later forwards do not tell what they took in and gave out."
_INTEGERS = (torch.int64, torch.int32)
_OTHERS = re.compile(r"mask|position|type|label|target|length|indic|index|segment|cache|step|seed|lang|bbox|size")
_MASKED = re.compile(r"MaskedLM|PreTraining")  # their logits are those of the token itself, not of the next
_CACHES = ("past_key_values", "cache", "cache_params")  # arguments by which models take a cache
_ROW = 200  # bytes of a row besides its tokens


@dataclass
class _Taken:
    """What a forward took in, and what it answered; tensors may lie on an accelerator."""

    step: int
    forward: int
    model: str
    given: dict[str, torch.Tensor]  # ids (B, T) by argument
    past: int | None  # tokens in the cache
    history: torch.Tensor | None  # ids (B, L) of the texts so far, as the loop around the model has them
    last: torch.Tensor | None = None  # (B) index of the last token that is not padding
    answer: list[torch.Tensor] = field(default_factory=list)  # likeliest (B, n), probability (B, n), entropy (B)

    @property
    def size(self) -> int:
        """Bytes that it takes in the trace, about."""
        return sum(8 * ids.numel() + _ROW * len(ids) for ids in self.given.values())

    def tensors(self) -> Iterator[torch.Tensor]:
        """All of its tensors, in an order that `_rows` knows."""
        yield from self.given.values()
        yield from (one for one in (self.history, self.last, *self.answer) if one is not None)


class NextTokens:
    """The tokens of one rank's forwards.

    Args:
        rank_folder: The folder of the rank.

    Attributes:
        full: Whether there was no more room.
        words: Gives the tokens of ids as text; None if no tokenizer is known.
        before: Called before rows are written; an exception from it prevents that.
    """

    def __init__(self, rank_folder: Path) -> None:
        self._writer = AnswersWriter(rank_folder)
        self._running: dict[int, _Taken] = {}  # by step
        self._waiting: list[_Taken] = []
        self._texts: dict[str, list[np.ndarray]] = {}  # of the latest forward of each model
        self._latest: _Taken | None = None
        self._left = BUDGET
        self._vocabularies: WeakKeyDictionary[torch.nn.Module, int] = WeakKeyDictionary()
        self._ids: dict[int, None] = {}  # that were written
        self.full = False
        self.words: Any = None
        self.before: Callable[[], None] = lambda: None

    def begin(self, call: Call, history: torch.Tensor | None) -> None:
        """Take the tokens that a forward takes in.

        Args:
            call: The outermost call of the forward.
            history: The texts so far (B, L), if the loop around the model tells.
        """
        if self.full:
            return
        try:
            self._begin(call, history)
        except Exception:  # a subclass of tensors may raise anything, and no answer is worth a forward
            self._running.pop(call.step, None)

    def _begin(self, call: Call, history: torch.Tensor | None) -> None:
        given = dict(_tokens(call.arguments))
        taken = _Taken(call.step, call.forward, f"{call.name} {call.place.type}", given, None, None)
        self._left -= taken.size
        if self._left < 0:
            self.full = True
            return
        if given:
            name, ids = list(given.items())[-1]
            mask = call.arguments.get("decoder_attention_mask" if name.startswith("decoder") else "attention_mask")
            taken.past = _past(call.arguments, mask, ids)
            taken.last = _last(mask, ids)
            if history is not None and _plain(history) and history.shape[0] == len(ids) and history.dim() == 2:
                taken.history = history.detach().clone()
        self._running[call.step] = taken

    def end(self, call: Call, result: Any) -> None:
        """Take the likeliest next tokens of what a forward returned."""
        taken = self._running.pop(call.step, None)
        if taken is None:
            return
        try:
            logits = self._logits(call.owner, result)
            if logits is not None:
                ids = list(taken.given.values())[-1] if taken.given else None
                taken.answer = _likeliest(logits, ids, taken.last)
        except Exception:  # as above
            taken.answer = []
        if taken.given or taken.answer:
            self._waiting.append(taken)
            self._latest = taken

    def raised(self, call: Call) -> None:
        """Forget a forward that failed: it gave no answer."""
        self._running.pop(call.step, None)

    def returned(self, result: Any, since: int) -> None:
        """Take the tokens that `generate` returned.

        Args:
            result: What it returned.
            since: The number of the first step that it may have run.
        """
        ids = getattr(result, "sequences", result)
        latest = self._latest
        if self.full or latest is None or latest.step < since or not _plain(ids) or not _is_ids(ids):
            return
        taken = _Taken(latest.step, latest.forward, "", {RETURNED: ids.detach().clone()}, None, None)
        self._left -= taken.size
        self._waiting.append(taken)

    def drop(self, forward: int) -> None:
        """Forget a forward that is not kept."""
        self._waiting = [one for one in self._waiting if one.forward != forward]

    def write(self) -> None:
        """Write what was taken since the last call; this waits for accelerators that still compute some of it."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self.before()
            found = iter(_numbers([tensor for one in waiting for tensor in one.tensors()]))
            self._writer.write(row for one in waiting for row in self._rows(one, found))

    def vocabulary(self) -> dict[str, str]:
        """The tokens as text of all ids that were written, by the ids; empty if no tokenizer is known."""
        if self.words is None or not self._ids:
            return {}
        try:
            words = self.words([*self._ids])
        except Exception:  # somebody else's tokenizer
            return {}
        return {str(one): word for one, word in zip(self._ids, words, strict=False) if isinstance(word, str)}

    def close(self) -> None:
        """End the file."""
        self._writer.close()

    def abandon(self) -> None:
        """Close the file as it is."""
        self._writer.abandon()

    # -- rows -------------------------------------------------------------------------------------------

    def _rows(self, one: _Taken, found: Iterator[np.ndarray]) -> Iterator[tuple[Any, ...]]:
        given = {name: next(found) for name in one.given}
        history = next(found) if one.history is not None else None
        last = next(found) if one.last is not None else None
        answer = [next(found) for _ in one.answer]
        main = next(reversed(given), "")
        for name, ids in given.items():
            if name != main or name == RETURNED:
                for row, tokens in enumerate(ids):
                    yield self._row(one, name, row, tokens)
        if main == RETURNED:
            return
        rows = len(given[main]) if given else len(answer[0])
        before, texts = self._texts.get(one.model, []), []
        for row in range(rows):
            tokens = given[main][row] if given else np.zeros(0, np.int64)
            text, parent = _joined(tokens, row, one.past, None if history is None else history[row], before)
            texts.append(text)
            known = text[: len(text) - len(tokens)]
            told = parent >= 0 and np.array_equal(before[parent][: len(known)], known)
            yield self._row(
                one,
                main,
                row,
                tokens,
                len(known),
                parent,
                len(tokens) - 1 if last is None else int(last[row]),
                [] if told else known,
                [part[row] for part in answer],
            )
        self._texts[one.model] = texts

    def _row(
        self,
        one: _Taken,
        of: str,
        row: int,
        tokens: np.ndarray,
        past: int = 0,
        parent: int = -1,
        last: int = -1,
        before: Any = (),
        answer: Any = (),
    ) -> tuple[Any, ...]:
        likeliest, probability, entropy = answer or ((), (), None)
        for ids in (tokens, before, likeliest):
            self._ids |= dict.fromkeys(map(int, ids))
        bits = float(entropy) if entropy is not None and np.isfinite(probability).all() else None
        return (
            one.step, of, row, past, parent, last, bits, tokens, before, likeliest,
            probability,
        )  # fmt: skip

    def _logits(self, owner: Any, result: Any) -> torch.Tensor | None:
        """The logits (B, T, V) or (B, V) of the next tokens in what a model returned."""
        if _MASKED.search(type(owner).__name__):
            return None
        named: Any = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
        if named is None and not isinstance(result, Mapping):
            parts = result if isinstance(result, (tuple, list)) else [result]
            named = next((part for part in parts if isinstance(part, torch.Tensor)), None)
        if not _plain(named) or named.dim() not in (2, 3) or not named.is_floating_point() or 0 in named.shape:
            return None
        return named.detach() if named.shape[-1] == self._vocabulary(owner) else None

    def _vocabulary(self, model: torch.nn.Module) -> int:
        """How many tokens a model knows: what its configuration says, else the rows of its largest embedding."""
        if model not in self._vocabularies:
            config: Any = getattr(model, "config", None)
            text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
            size = getattr(text, "vocab_size", None)
            if not isinstance(size, int):
                tables = [part.num_embeddings for part in model.modules() if isinstance(part, torch.nn.Embedding)]
                size = max(tables, default=0)
            self._vocabularies[model] = size
        return self._vocabularies[model]


def _plain(value: Any) -> bool:
    """Whether a value is a tensor whose numbers can be read."""
    kind = type(value)
    return (kind is torch.Tensor or kind is torch.nn.Parameter) and not value.is_meta and not value.is_nested


def _is_ids(tensor: torch.Tensor) -> bool:
    return tensor.dtype in _INTEGERS and tensor.dim() in (1, 2) and tensor.numel() > 0


def _tokens(arguments: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    """The arguments that hold tokens, as copies (B, T): a program may write into its tensors later."""
    for name, value in arguments.items():
        if _plain(value) and _is_ids(value) and not _OTHERS.search(name):
            yield name, (value if value.dim() == 2 else value.unsqueeze(0)).detach().clone()


def _past(arguments: Mapping[str, Any], mask: Any, ids: torch.Tensor) -> int | None:
    """How many tokens the cache holds; None if that is not known without waiting for an accelerator."""
    cache = next((arguments[name] for name in _CACHES if arguments.get(name) is not None), None)
    length = getattr(cache, "get_seq_length", None)
    found = length() if length is not None else None
    if type(found) is int:
        return found
    if isinstance(cache, (tuple, list)) and cache and isinstance(cache[0], (tuple, list)):
        return int(cache[0][0].shape[-2])
    if isinstance(mask, torch.Tensor) and mask.dim() == 2 and cache is not None:
        return max(0, mask.shape[1] - ids.shape[1])
    return 0 if cache is None else None


def _last(mask: Any, ids: torch.Tensor) -> torch.Tensor | None:
    """For each text the index of its last token that is not padding; None if there is no padding."""
    if not _plain(mask) or mask.dim() != 2 or len(mask) != len(ids) or mask.shape[1] < ids.shape[1]:
        return None
    seen = mask[:, -ids.shape[1] :] != 0
    found: torch.Tensor = (seen * torch.arange(ids.shape[1], device=mask.device)).amax(1)
    return found


def _likeliest(logits: torch.Tensor, ids: torch.Tensor | None, last: torch.Tensor | None) -> list[torch.Tensor]:
    """The likeliest next tokens after the last position of each text, their probabilities, and the entropy in bits."""
    with torch.no_grad():
        at_last = logits[:, -1] if logits.dim() == 3 else logits
        whole = ids is not None and logits.dim() == 3 and logits.shape[1] == ids.shape[1]
        if whole and last is not None:
            last = last if last.device == logits.device else last.to(logits.device)
            at_last = logits[torch.arange(len(logits), device=logits.device), last]
        wide = at_last.float()
        shares = wide.softmax(-1)  # a second pass is far cheaper than exponentials of the logarithms
        top = shares.topk(min(LIKELIEST, shares.shape[-1]))
        inner = (shares * wide.log_softmax(-1)).nan_to_num_(0.0)  # 0 · log 0 is 0
        return [top.indices, top.values, inner.sum(-1) / -math.log(2)]


def _joined(
    tokens: np.ndarray, row: int, past: int | None, history: np.ndarray | None, before: list[np.ndarray]
) -> tuple[np.ndarray, int]:
    """The whole text of a row, and the row of the forward before that it goes on from, -1 if it starts anew."""
    text, begin = tokens, len(history if history is not None else ()) - len(tokens)
    if history is not None and begin >= 0 and np.array_equal(history[begin:], tokens):
        text = history
    elif past and row < len(before) and len(before[row]) >= past:
        return np.concatenate([before[row][:past], tokens]), row
    elif past:
        text = np.concatenate([np.full(past, -1), tokens])
    for at in (row, *range(len(before))):
        if at < len(before) and len(before[at]) < len(text) and np.array_equal(before[at], text[: len(before[at])]):
            return text, at
    return text, -1


def _numbers(tensors: list[torch.Tensor]) -> list[np.ndarray]:
    """The numbers of tensors as arrays of int64 and float32, with one copy from each device."""
    flat: dict[bool, tuple[np.ndarray, int]] = {}
    groups: dict[bool, list[torch.Tensor]] = {}
    for one in fetched(tensors):
        groups.setdefault(one.is_floating_point(), []).append(one)
    for real, members in groups.items():
        kind = torch.float32 if real else torch.int64
        flat[real] = torch.cat([one.flatten().to(kind) for one in members]).numpy(), 0
    found = []
    for one in tensors:
        values, at = flat[key := one.is_floating_point()]
        flat[key] = values, at + one.numel()
        found.append(values[at : at + one.numel()].reshape(tuple(one.shape)))
    return found
