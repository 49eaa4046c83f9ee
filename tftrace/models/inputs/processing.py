"""The processors that were saved with a model: what turns a text, a picture or a sound into its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import transformers
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedConfig

from ...errors import TraceError
from ..request import ModelOptions
from ..source.failure import needed
from ..source.locate import Place


class Processing:
    """The processors of one model, each loaded when it is first needed."""

    def __init__(self, place: Place, config: PreTrainedConfig, options: ModelOptions) -> None:
        self._place, self._config = place, config
        self._said = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}

    @cached_property
    def whole(self) -> Any:
        """The processor of several modalities, if the model has one."""
        try:
            found = AutoProcessor.from_pretrained(self._place.where, **self._said)
        except Exception:  # it may have parts all the same, which say themselves what is wrong with them
            return None
        return found if isinstance(found, transformers.ProcessorMixin) else None

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer; raises TraceError where there is none with a vocabulary."""
        found = getattr(self.whole, "tokenizer", None) or self._part(AutoTokenizer, "tokenizer", "--text")
        try:
            bare = len(found) <= len(found.all_special_tokens)  # made from the config alone, without a vocabulary
        except (TypeError, NotImplementedError):
            bare = False
        if bare:
            raise TraceError(self._missing("tokenizer", "--text"))
        return found

    @property
    def maybe_tokenizer(self) -> Any:
        """The tokenizer, or None."""
        try:
            return self.tokenizer
        except TraceError:
            return None

    @cached_property
    def pictures(self) -> Any:
        """The image processor."""
        return getattr(self.whole, "image_processor", None) or self._part(
            AutoImageProcessor, "image processor", "--image"
        )

    @cached_property
    def sounds(self) -> Any:
        """The feature extractor."""
        found = getattr(self.whole, "feature_extractor", None)
        return found or self._part(AutoFeatureExtractor, "feature extractor", "--audio")

    def _part(self, kind: Any, name: str, option: str) -> Any:
        try:
            return kind.from_pretrained(self._place.where, **self._said)
        except Exception as error:  # they fail in as many ways as there are libraries behind them
            raise TraceError(needed(error, self._place) or self._missing(name, option)) from error

    def _missing(self, name: str, option: str) -> str:
        return (
            f"{self._place.name} has no {name} that can be loaded, so {option} cannot be used: save one beside the "
            "model, or give it tensors with --inputs FILE."
        )


def text_inputs(processing: Processing, texts: Sequence[str], chat: bool, left: bool) -> dict[str, Any]:
    """Tokens of texts, padded to a batch (B T), on the `left` for generation."""
    tokenizer = processing.tokenizer
    if chat:
        texts = [chatted(tokenizer, [{"role": "user", "content": text}]) for text in texts]
    inputs = dict(
        tokenizer(list(texts), return_tensors="pt", add_special_tokens=not chat, **padding(tokenizer, texts, left))
    )
    if inputs["input_ids"].numel() == 0:
        raise TraceError("The text has no tokens for this model: give it more with --text.")
    return inputs


def padding(tokenizer: Any, texts: Sequence[str], left: bool) -> dict[str, Any]:
    """How texts of different lengths become one batch."""
    if len(texts) < 2:
        return {}
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise TraceError("The tokenizer has no token to pad with: give one --text at a time.")
    if left:
        tokenizer.padding_side = "left"
    return {"padding": True}


def chatted(owner: Any, messages: list[dict[str, Any]]) -> str:
    """Messages in the chat template of a tokenizer or processor."""
    if not getattr(owner, "chat_template", None):
        raise TraceError("The tokenizer has no chat template: leave --chat out.")
    said: str = owner.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return said


def sound_inputs(processing: Processing, sounds: Sequence[np.ndarray], rate: int) -> dict[str, Any]:
    """Features of sounds (B T), padded to a batch."""
    extractor = processing.sounds
    more = {"padding": True} if len(sounds) > 1 else {}
    return dict(extractor(list(sounds), sampling_rate=rate, return_tensors="pt", **more))


def rate_of(processing: Processing) -> int:
    """Samples a second that the model was made for."""
    found = getattr(processing.sounds, "sampling_rate", None)
    return found if isinstance(found, int) and found > 0 else 16_000
