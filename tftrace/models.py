"""What a user names becomes a model with inputs: a hub id, a local folder, or a demo that ships with tftrace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer

from .demo import DEMOS, demo_folder
from .errors import TraceError


@dataclass
class Loaded:
    """A model in evaluation mode and a forward pass to record."""

    model: torch.nn.Module
    inputs: dict[str, Any]
    meta: dict[str, Any]
    describe: Callable[[Any], str]  # from the forward's output to one sentence of what the model said


def load(source: str, texts: Sequence[str]) -> Loaded:
    """Load `source` (hub id, folder, `demo:NAME`) and make inputs from the texts, padded as a batch.

    Raises TraceError where there is no such model, or it takes no text.
    """
    where, texts = _locate(source, texts)
    config = _config(source, where)
    names = getattr(config, "architectures", None) or []
    kind = getattr(transformers, names[0], AutoModel) if names else AutoModel
    model = _attempt(lambda: kind.from_pretrained(where, config=config), f"The weights of {source} cannot be loaded")
    model.eval()
    tokenizer = _tokenizer(source, where)
    inputs = dict(_tokenize(tokenizer, texts))
    meta = {"source": source, "text": list(texts), "tokens": _tokens(tokenizer, inputs["input_ids"])}
    if config.is_encoder_decoder:
        # Teacher forcing on the model's own answer: one forward shows every decoding step side by side.
        with torch.no_grad():
            answer = _attempt(
                lambda: model.generate(**inputs, max_new_tokens=64, num_beams=1, do_sample=False),
                f"{source} cannot answer this text",
                "give it another --text",
            )
        inputs["decoder_input_ids"] = answer[:, :-1] if answer.shape[1] > 1 else answer
        meta["decoder_tokens"] = _tokens(tokenizer, inputs["decoder_input_ids"])
    return Loaded(model, inputs, meta, lambda output: _describe(model, tokenizer, output))


def _locate(source: str, texts: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The path or hub id, and the texts: a demo brings its own."""
    if source.startswith("demo:"):
        name = source.removeprefix("demo:")
        return str(demo_folder(name)), texts or [DEMOS[name]]
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise TraceError(f"{source} has no config.json: name a folder that a model was saved to (save_pretrained).")
    elif folder.exists() or source.startswith((".", "/", "~")):
        raise TraceError(f"{source} is not a folder with a model: name a folder, a hub id, or demo:bert.")
    if not texts:
        raise TraceError(f'There is nothing to run {source} on: give it a text with --text "…".')
    return (str(folder) if folder.is_dir() else source), texts


def _config(source: str, where: str) -> Any:
    hint = "check the name, or name a local folder or demo:bert" if where == source else "check its config.json"
    return _attempt(lambda: AutoConfig.from_pretrained(where), f"There is no model {source!r} that can be loaded", hint)


def _attempt(work: Callable[[], Any], failed: str, hint: str = "check that the files are whole") -> Any:
    """Run a loader of transformers; its many errors become one sentence."""
    try:
        return work()
    except (OSError, ValueError, KeyError, IndexError, ImportError, RuntimeError, AttributeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[0][:200].rstrip(".:") if lines else type(error).__name__
        raise TraceError(f"{failed} ({why}): {hint}.") from error


def _tokenizer(source: str, where: str) -> Any:
    failed = TraceError(
        f"{source} has no tokenizer that can be loaded, so --text cannot be used: name a model that takes text."
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
    except Exception as error:  # tokenizers fail in as many ways as there are libraries behind them
        raise failed from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # made from the config alone, without a vocabulary
        raise failed
    return tokenizer


def _tokenize(tokenizer: Any, texts: Sequence[str]) -> Any:
    if len(texts) > 1 and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    inputs = tokenizer(list(texts), return_tensors="pt", padding=len(texts) > 1)
    if inputs["input_ids"].numel() == 0:
        raise TraceError("The text has no tokens for this model: give it more with --text.")
    return inputs


def _tokens(tokenizer: Any, ids: torch.Tensor) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(row) for row in ids.tolist()]


def _describe(model: Any, tokenizer: Any, output: Any) -> str:
    """One sentence of what the model said about the first text."""
    logits = getattr(output, "logits", None)
    if logits is None:
        hidden = getattr(output, "last_hidden_state", None)
        return "" if hidden is None else f"last hidden state {'×'.join(map(str, hidden.shape))}"
    probabilities = logits[0].float().softmax(-1)
    if logits.dim() == 2:
        best = int(probabilities.argmax())
        return f"{model.config.id2label.get(best, best)} {probabilities[best]:.2f}"
    if model.config.is_encoder_decoder:
        return f"“{tokenizer.decode(logits[0].argmax(-1), skip_special_tokens=True).strip()}”"
    best = int(probabilities[-1].argmax())
    return f"next token “{tokenizer.decode([best])}” {probabilities[-1][best]:.2f}"
