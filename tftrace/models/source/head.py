"""Chooses the class of transformers to load: the one that was saved, or the one with the requested head."""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from typing import Any

import transformers
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

from ...capture.torch_internals import MODEL_MAPPING
from ...errors import TraceError
from ..request import Request
from .locate import Place

TASKS = {
    "feature-extraction": "none",
    "text-classification": "SequenceClassification",
    "sentiment-analysis": "SequenceClassification",
    "zero-shot-classification": "SequenceClassification",
    "token-classification": "TokenClassification",
    "ner": "TokenClassification",
    "question-answering": "QuestionAnswering",
    "multiple-choice": "MultipleChoice",
    "fill-mask": "MaskedLM",
    "text-generation": "CausalLM",
    "text2text-generation": "Seq2SeqLM",
    "summarization": "Seq2SeqLM",
    "translation": "Seq2SeqLM",
    "image-classification": "ImageClassification",
    "zero-shot-image-classification": "ZeroShotImageClassification",
    "image-segmentation": "SemanticSegmentation",
    "object-detection": "ObjectDetection",
    "zero-shot-object-detection": "ZeroShotObjectDetection",
    "depth-estimation": "DepthEstimation",
    "image-feature-extraction": "none",
    "image-to-image": "ImageToImage",
    "image-text-to-text": "ImageTextToText",
    "image-to-text": "ImageTextToText",
    "visual-question-answering": "VisualQuestionAnswering",
    "document-question-answering": "DocumentQuestionAnswering",
    "video-classification": "VideoClassification",
    "audio-classification": "AudioClassification",
    "automatic-speech-recognition": "SpeechSeq2Seq|CTC",
    "text-to-speech": "TextToSpectrogram|TextToWaveform",
    "mask-generation": "MaskGeneration",
}
# Heads that are tried, in this order, if the config does not name the class that was saved.
_USUAL = ("Seq2SeqLM", "SpeechSeq2Seq", "ImageTextToText", "CausalLM")
_PREFIX = "AutoModelFor"


def model_class(config: PreTrainedConfig, request: Request, place: Place) -> Any:
    """Choose the class to load: one of transformers, or an auto class if the model brings its own code.

    Raises TraceError for a task or head that the model does not have."""
    options = request.model
    if options.task is not None and options.head is not None:
        raise TraceError("--task and --head both name the head: leave one of them out.")
    if options.task is not None:
        heads = TASKS.get(options.task.lower())
        if heads is None:
            raise TraceError(f"There is no task {options.task!r}{_suggestion(options.task, list(TASKS))}.")
        return _class_with_head(config, heads.split("|"), options.task, place)
    if options.head is not None:
        return _class_named(config, options.head) or _class_with_head(config, [options.head], options.head, place)
    for name in config.architectures or []:
        found = _class_named(config, name)
        if found is not None:
            return found
    if options.trust_remote_code and (auto := _remote_auto_class(config)):
        return auto
    return _default_class(config, request.generation.generate is not None)


def _class_named(config: PreTrainedConfig, name: str) -> Any:
    """The model class of this name, or None; a config may come from anyone and name anything."""
    found: Any = getattr(transformers, name, None) if name.isidentifier() and not name.startswith("Auto") else None
    if not inspect.isclass(found) or not issubclass(found, PreTrainedModel) or found is PreTrainedModel:
        return None
    kind = getattr(found, "config_class", None)
    return found if kind is None or isinstance(config, kind) else None


def _class_with_head(config: PreTrainedConfig, heads: list[str], given: str, place: Place) -> Any:
    """The class with the first of these heads that the model has; raises TraceError if it has none of them."""
    autos = _auto_classes()
    for head in heads:
        head = re.sub(r"^(AutoModel)?(For)?", "", head)
        name = "AutoModel" if head.lower() in ("none", "base", "") else _PREFIX + head
        auto = next((autos[key] for key in autos if key.lower() == name.lower()), None)
        if auto is None:
            continue
        found = _mapped_class(auto, config)
        if found is not None:
            return found
    has = [
        name.removeprefix(_PREFIX)
        for name, auto in autos.items()
        if name != "AutoModel" and _mapped_class(auto, config)
    ]
    known = [key.removeprefix(_PREFIX).lower() for key in autos]
    if all(re.sub(r"^(AutoModel)?(For)?", "", head).lower() not in known for head in heads):
        raise TraceError(f"There is no head {given!r}{_suggestion(given, has)}.")
    there = f"it has {', '.join(has)}" if has else "it has none but its own"
    raise TraceError(f"{place.name} ({config.model_type}) has no head for {given}: {there}.")


def _auto_classes() -> dict[str, Any]:
    """The auto classes of transformers by name."""
    return {name: found for name, found in vars(modeling_auto).items() if re.fullmatch(r"AutoModel(For\w+)?", name)}


def _mapped_class(auto: Any, config: PreTrainedConfig) -> Any:
    """The class that an auto class maps this config to, or None."""
    mapping = getattr(auto, MODEL_MAPPING, None)
    try:
        found = mapping[type(config)] if mapping is not None and type(config) in mapping else None
    except (KeyError, ImportError, AttributeError, ValueError):
        return None
    return found[0] if isinstance(found, (tuple, list)) else found


def _remote_auto_class(config: PreTrainedConfig) -> Any:
    """The auto class for a model that brings its own code, preferably one with a head; None if there is none."""
    known, autos = getattr(config, "auto_map", None) or {}, _auto_classes()
    names = sorted((name for name in known if name in autos), key=lambda name: (name == "AutoModel", name))
    own = [name for name in names if str(known[name]).rsplit(".", 1)[-1] in (config.architectures or [])]
    return autos[(own or names)[0]] if names else None


def _default_class(config: PreTrainedConfig, generating: bool) -> Any:
    """The default class: one that generates text if the architecture is meant for it, else the bare model."""
    masked = _mapped_class(transformers.AutoModelForMaskedLM, config) is not None and not config.is_encoder_decoder
    for head in _USUAL:
        found = _mapped_class(getattr(transformers, _PREFIX + head), config)
        if found is not None and (generating or not masked):
            return found
    return _mapped_class(AutoModel, config) or next(
        filter(None, (_mapped_class(auto, config) for auto in _auto_classes().values())), AutoModel
    )


def _suggestion(given: str, known: list[str]) -> str:
    """The end of an error about an unknown name: similar names, or all of them."""
    close = get_close_matches(given.lower(), [name.lower() for name in known], n=2, cutoff=0.6)
    names = [name for name in known if name.lower() in close]
    if names:
        return f": did you mean {' or '.join(names)}?".rstrip("?") + ""
    return f": choose one of {', '.join(known)}" if known else ""
