"""The processors saved with a model, which turn texts, images and sounds into its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import transformers
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedConfig

from ...errors import TraceError
from ..request import ModelOptions
from ..source.failure import missing_requirement, reason
from ..source.locate import Place


class Processing:
    """The processors of one model, each loaded when it is first needed."""

    def __init__(self, place: Place, config: PreTrainedConfig, options: ModelOptions) -> None:
        self._place, self._config = place, config
        self._options = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}

    @cached_property
    def processor(self) -> Any:
        """The processor for several modalities; None if the model has none."""
        try:
            found = AutoProcessor.from_pretrained(self._place.path_or_id, **self._options)
        except Exception:  # its parts may still load; if not, they raise an error of their own
            return None
        return found if isinstance(found, transformers.ProcessorMixin) else None

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer; raises TraceError if there is none with a vocabulary."""
        found = getattr(self.processor, "tokenizer", None) or self._load_part(AutoTokenizer, "tokenizer", "--text")
        try:
            bare = len(found) <= len(found.all_special_tokens)  # built from the config, without a vocabulary
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
    def image_processor(self) -> Any:
        """The image processor; raises TraceError if there is none."""
        return getattr(self.processor, "image_processor", None) or self._load_part(
            AutoImageProcessor, "image processor", "--image"
        )

    @cached_property
    def feature_extractor(self) -> Any:
        """The feature extractor for sounds; raises TraceError if there is none."""
        found = getattr(self.processor, "feature_extractor", None)
        return found or self._load_part(AutoFeatureExtractor, "feature extractor", "--audio")

    def _load_part(self, kind: Any, name: str, option: str) -> Any:
        try:
            return kind.from_pretrained(self._place.path_or_id, **self._options)
        except Exception as error:  # each underlying library has errors of its own
            raise TraceError(missing_requirement(error, self._place) or self._missing(name, option)) from error

    def _missing(self, name: str, option: str) -> str:
        return (
            f"{self._place.name} has no {name} that can be loaded, so {option} cannot be used: save one beside the "
            "model, or give it tensors with --inputs FILE."
        )


def text_inputs(processing: Processing, texts: Sequence[str], chat: bool, left: bool) -> dict[str, Any]:
    """Tokenize texts into a padded batch (B, T); padding goes on the `left` for generation."""
    tokenizer = processing.tokenizer
    if chat:
        texts = [apply_chat_template(tokenizer, [{"role": "user", "content": text}]) for text in texts]
    inputs = dict(
        tokenizer(list(texts), return_tensors="pt", add_special_tokens=not chat, **padding(tokenizer, texts, left))
    )
    if inputs["input_ids"].numel() == 0:
        raise TraceError("The text has no tokens for this model: give it more with --text.")
    return inputs


def padding(tokenizer: Any, texts: Sequence[str], left: bool) -> dict[str, Any]:
    """The tokenizer's arguments that pad several texts to one batch; raises TraceError if it has no padding token."""
    if len(texts) < 2:
        return {}
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise TraceError("The tokenizer has no token to pad with: give one --text at a time.")
    if left:
        tokenizer.padding_side = "left"
    return {"padding": True}


def apply_chat_template(owner: Any, messages: list[dict[str, Any]]) -> str:
    """Render messages with the chat template of a tokenizer or processor; raises TraceError if it has none."""
    if not getattr(owner, "chat_template", None):
        raise TraceError("The tokenizer has no chat template: leave --chat out.")
    try:
        said: str = owner.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program: it may raise what it likes, and refuse a message on purpose
        raise TraceError(
            f"The tokenizer's chat template refuses the text ({reason(error)}): leave --chat out."
        ) from error
    return said


def sound_inputs(processing: Processing, sounds: Sequence[np.ndarray], rate: int) -> dict[str, Any]:
    """Extract the features of sounds, padded to a batch whose first axis is B."""
    extractor = processing.feature_extractor
    more = {"padding": True} if len(sounds) > 1 else {}
    return dict(extractor(list(sounds), sampling_rate=rate, return_tensors="pt", **more))


def sampling_rate(processing: Processing) -> int:
    """The sampling rate that the model expects, in samples per second."""
    found = getattr(processing.feature_extractor, "sampling_rate", None)
    return found if isinstance(found, int) and found > 0 else 16_000
