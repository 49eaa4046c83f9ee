"""Summarizes a model's output in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .inputs.processing import Processing

_MOST = 400  # characters quoted from a generated text


def summarize_output(model: Any, processing: Processing, inputs: Mapping[str, Any], output: Any) -> str:
    """Say in a few words what the model predicted for the first example of the batch; '' if words do not fit."""
    try:
        return _summary(model, processing, inputs, output)
    except Exception:  # there are countless kinds of head, and no summary is worth losing the trace
        return ""


def _summary(model: Any, processing: Processing, inputs: Mapping[str, Any], output: Any) -> str:
    if isinstance(output, torch.Tensor) and not output.is_floating_point():
        return _generated_text(model, processing, inputs, output)
    if any(value.is_meta for value in _tensors(output)):
        return ""
    tokenizer, kind = processing.maybe_tokenizer, type(model).__name__
    pairs = getattr(output, "logits_per_image", None)
    if isinstance(pairs, torch.Tensor):
        return _best_text(pairs, inputs, tokenizer)
    if isinstance(getattr(output, "start_logits", None), torch.Tensor):
        return _answer_span(output, inputs, tokenizer)
    logits = getattr(output, "logits", None)
    if isinstance(getattr(output, "pred_boxes", None), torch.Tensor):
        shares = output.logits[0].float().softmax(-1)[:, : len(model.config.id2label)]
        best, label = divmod(int(shares.argmax()), shares.shape[-1])
        return f"{_label(model, label)} {shares[best, label]:.2f}"
    if not isinstance(logits, torch.Tensor):
        depth, hidden = getattr(output, "predicted_depth", None), getattr(output, "last_hidden_state", None)
        found = depth if depth is not None else hidden
        name = "depths" if depth is not None else "last hidden state"
        return "" if found is None else f"{name} {'×'.join(map(str, found.shape))}"
    logits = logits[0].float()
    if logits.dim() == 3:
        return f"mostly {_label(model, int(logits.argmax(0).flatten().mode().values))}"
    if logits.dim() == 1:
        return _best_class(model, logits, kind)
    return _from_token_logits(model, processing, inputs, logits, kind, tokenizer)


def _from_token_logits(
    model: Any, processing: Processing, inputs: Mapping[str, Any], logits: Any, kind: str, tokenizer: Any
) -> str:
    """Summarize logits (T, V), one row per token."""
    best = logits.argmax(-1)
    if kind.endswith("ForTokenClassification"):
        names = tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
        pairs = [f"{name} {_label(model, int(label))}" for name, label in zip(names, best, strict=True)]
        return ", ".join(pairs)[:_MOST]
    if tokenizer is None:
        return ""
    if kind.endswith("ForCTC") or model.config.is_encoder_decoder:
        return f"“{tokenizer.decode(best, skip_special_tokens=True).strip()[:_MOST]}”"
    ids, mask = inputs.get("input_ids"), getattr(tokenizer, "mask_token_id", None)
    if "Masked" in kind or "PreTraining" in kind:
        holes = [] if ids is None or mask is None else (ids[0] == mask).nonzero().flatten().tolist()
        return ", ".join(
            f"the mask is “{tokenizer.decode([best[at]])}” {logits[at].softmax(-1).max():.2f}" for at in holes
        )
    last = int(inputs["attention_mask"][0].nonzero().max()) if "attention_mask" in inputs else -1
    last = last if len(logits) == len(inputs.get("attention_mask", [[]])[0]) else -1
    return f"next token “{tokenizer.decode([best[last]])}” {logits[last].softmax(-1).max():.2f}"


def _generated_text(model: Any, processing: Processing, inputs: Mapping[str, Any], ids: torch.Tensor) -> str:
    """The generated text, without the prompt that a decoder-only model repeats."""
    tokenizer = processing.maybe_tokenizer
    row, prompt = ids[0].tolist(), inputs.get("input_ids")
    if prompt is not None and row[: prompt.shape[-1]] == prompt[0].tolist():
        row = row[prompt.shape[-1] :]
    if tokenizer is None:
        return f"tokens {' '.join(map(str, row))}"[:_MOST]
    return f"“{tokenizer.decode(row, skip_special_tokens=True).strip()[:_MOST]}”"


def _best_text(pairs: torch.Tensor, inputs: Mapping[str, Any], tokenizer: Any) -> str:
    """The text that fits the first image best, with its probability; `pairs` are logits (images, texts)."""
    shares = pairs[0].float().softmax(-1)
    best = int(shares.argmax())
    text = tokenizer.decode(inputs["input_ids"][best], skip_special_tokens=True) if tokenizer else f"text {best + 1}"
    return f"“{text.strip()}” {shares[best]:.2f}"


def _answer_span(output: Any, inputs: Mapping[str, Any], tokenizer: Any) -> str:
    """The span of the text that answers the question."""
    first, last = int(output.start_logits[0].argmax()), int(output.end_logits[0].argmax())
    return f"“{tokenizer.decode(inputs['input_ids'][0][first : last + 1]).strip()}”" if last >= first else "no answer"


def _best_class(model: Any, logits: torch.Tensor, kind: str) -> str:
    if len(logits) == 1:
        return f"{logits[0]:.3g}"
    best = int(logits.argmax())
    share = logits.softmax(-1)[best]
    return (
        f"choice {best + 1} {share:.2f}" if kind.endswith("ForMultipleChoice") else f"{_label(model, best)} {share:.2f}"
    )


def _label(model: Any, number: int) -> str:
    return str(model.config.id2label.get(number, number))


def _tensors(output: Any) -> list[torch.Tensor]:
    found = output.values() if isinstance(output, Mapping) else [output]
    return [value for value in found if isinstance(value, torch.Tensor)]
