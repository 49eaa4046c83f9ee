"""Which class of transformers a config is loaded as: the one it was saved from, or the one with the wanted head."""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from typing import Any

import transformers
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto

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
# What is tried, in this order, for a config that does not say what it was saved from.
_USUAL = ("Seq2SeqLM", "SpeechSeq2Seq", "ImageTextToText", "CausalLM")
_PREFIX = "AutoModelFor"


def model_class(config: PreTrainedConfig, request: Request, place: Place) -> Any:
    """The class to load the config as: one of transformers, or an auto class where the code comes with the model.

    Raises TraceError for a task or head that the model does not have."""
    options = request.model
    if options.task is not None and options.head is not None:
        raise TraceError("--task and --head both name the head: leave one of them out.")
    if options.task is not None:
        heads = TASKS.get(options.task.lower())
        if heads is None:
            raise TraceError(f"There is no task {options.task!r}{_close(options.task, list(TASKS))}.")
        return _with_head(config, heads.split("|"), options.task, place)
    if options.head is not None:
        return _named(config, options.head) or _with_head(config, [options.head], options.head, place)
    for name in config.architectures or []:
        found = _named(config, name)
        if found is not None:
            return found
    if options.trust_remote_code and (auto := _remote(config)):
        return auto
    return _guess(config, request.generation.generate is not None)


def _named(config: PreTrainedConfig, name: str) -> Any:
    """The model class of this name; a config may come from anyone and name anything."""
    found: Any = getattr(transformers, name, None) if name.isidentifier() and not name.startswith("Auto") else None
    if not inspect.isclass(found) or not issubclass(found, PreTrainedModel) or found is PreTrainedModel:
        return None
    kind = getattr(found, "config_class", None)
    return found if kind is None or isinstance(config, kind) else None


def _with_head(config: PreTrainedConfig, heads: list[str], said: str, place: Place) -> Any:
    """The model's class that has the first of these heads that there is."""
    autos = _autos()
    for head in heads:
        head = re.sub(r"^(AutoModel)?(For)?", "", head)
        name = "AutoModel" if head.lower() in ("none", "base", "") else _PREFIX + head
        auto = next((autos[key] for key in autos if key.lower() == name.lower()), None)
        if auto is None:
            continue
        found = _of(auto, config)
        if found is not None:
            return found
    has = [name.removeprefix(_PREFIX) for name, auto in autos.items() if name != "AutoModel" and _of(auto, config)]
    known = [key.removeprefix(_PREFIX).lower() for key in autos]
    if all(re.sub(r"^(AutoModel)?(For)?", "", head).lower() not in known for head in heads):
        raise TraceError(f"There is no head {said!r}{_close(said, has)}.")
    there = f"it has {', '.join(has)}" if has else "it has none but its own"
    raise TraceError(f"{place.name} ({config.model_type}) has no head for {said}: {there}.")


def _autos() -> dict[str, Any]:
    """The auto classes by their names."""
    return {name: found for name, found in vars(modeling_auto).items() if re.fullmatch(r"AutoModel(For\w+)?", name)}


def _of(auto: Any, config: PreTrainedConfig) -> Any:
    """What an auto class makes of this config, if anything."""
    mapping = getattr(auto, "_model_mapping", None)
    try:
        found = mapping[type(config)] if mapping is not None and type(config) in mapping else None
    except (KeyError, ImportError, AttributeError, ValueError):
        return None
    return found[0] if isinstance(found, (tuple, list)) else found


def _remote(config: PreTrainedConfig) -> Any:
    """The auto class under which a model with code of its own has registered, its own head before the bare model."""
    known, autos = getattr(config, "auto_map", None) or {}, _autos()
    names = sorted((name for name in known if name in autos), key=lambda name: (name == "AutoModel", name))
    own = [name for name in names if str(known[name]).rsplit(".", 1)[-1] in (config.architectures or [])]
    return autos[(own or names)[0]] if names else None


def _guess(config: PreTrainedConfig, generating: bool) -> Any:
    """For a config that says nothing: a model that writes, if that is what the type is for, else the bare model."""
    masked = _of(transformers.AutoModelForMaskedLM, config) is not None and not config.is_encoder_decoder
    for head in _USUAL:
        found = _of(getattr(transformers, _PREFIX + head), config)
        if found is not None and (generating or not masked):
            return found
    return _of(AutoModel, config) or next(filter(None, (_of(auto, config) for auto in _autos().values())), AutoModel)


def _close(said: str, known: list[str]) -> str:
    close = get_close_matches(said.lower(), [name.lower() for name in known], n=2, cutoff=0.6)
    names = [name for name in known if name.lower() in close]
    if names:
        return f": did you mean {' or '.join(names)}?".rstrip("?") + ""
    return f": choose one of {', '.join(known)}" if known else ""
