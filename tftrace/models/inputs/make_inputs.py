"""Makes a model's inputs: from texts, images and sounds, from a file of tensors, or made up from the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import TraceError
from ...text import is_utf8
from ..request import Request
from ..source.failure import attempt
from ..source.locate import Place
from . import files
from .compatibility import check_modalities, check_tensors, check_tokens
from .dummy import describe_shapes, forward_parameters, make_dummy_inputs
from .forms import AUDIO_INPUTS, IMAGE_INPUTS, TEXT_INPUTS
from .processing import Processing, apply_chat_template, padding, sampling_rate, sound_inputs, text_inputs
from .shapes import has_only_shapes


@dataclass
class ModelInputs:
    """A model's inputs, entries for the trace's meta.json, and messages for the user."""

    inputs: dict[str, Any]
    meta: dict[str, Any] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    made_up: bool = False


def make_inputs(model: Any, processing: Processing, request: Request, place: Place) -> ModelInputs:
    """Make the inputs of the forward pass, on the model's device; raises TraceError for what the model cannot take."""
    options = request.input
    texts = options.text
    if not (texts or options.image or options.audio or options.inputs) and place.text is not None:
        texts = (place.text,)
    if not all(map(is_utf8, texts)):
        raise TraceError("The text holds bytes that are not UTF-8: write it again.")
    if options.inputs is not None:
        if texts or options.image or options.audio:
            raise TraceError("--inputs is all that the model is given: leave out --text, --image and --audio.")
        given = ModelInputs(check_tensors(model, files.read_tensors(options.inputs), options.inputs))
    elif texts or options.image or options.audio:
        given = _processed(model, processing, request, place, texts)
    else:
        if options.chat:
            raise TraceError("--chat needs something to say: add --text.")
        inputs, sentence = make_dummy_inputs(model, request.model.seed, place.name)
        given = ModelInputs(inputs, messages=[sentence], made_up=True)
    if not given.made_up:
        given.messages += check_tokens(model, given.inputs, place)
        _fill_missing(model, given, request, place)
        given.inputs = _to_model(model, given.inputs)
    return given


def _processed(model: Any, processing: Processing, request: Request, place: Place, texts: Sequence[str]) -> ModelInputs:
    options, takes = request.input, forward_parameters(model)
    check_modalities(model, place, {"text": texts, "image": options.image, "audio": options.audio})
    pictures = [files.read_picture(name) for name in options.image]
    rate = sampling_rate(processing) if options.audio else 0
    sounds = [files.read_sound(name, rate) for name in options.audio]
    given = ModelInputs({}, {"text": list(texts)} if texts else {})
    _replace_mask_token(processing, given, list(texts))
    texts = given.meta.get("text", [])
    left = request.generation.generate is not None and not model.config.is_encoder_decoder
    kinds = sum(map(bool, (texts, pictures, sounds)))
    marked = processing.processor is not None and _placeholder(processing, "image")
    if processing.processor is not None and (kinds > 1 or (options.chat and pictures) or (pictures and marked)):
        inputs = attempt(
            lambda: _with_processor(processing, texts, pictures, sounds, rate, options.chat, left, given),
            place,
            f"The processor of {place.name} cannot take these together",
            "check that there is as much of each as of the other",
        )
    else:
        inputs = {}
        if sounds:
            inputs |= attempt(
                lambda: sound_inputs(processing, sounds, rate),
                place,
                f"{place.name} cannot take this sound",
                "try another",
            )
        if pictures:
            processor = processing.image_processor
            inputs |= attempt(
                lambda: dict(processor(images=pictures, return_tensors="pt")),
                place,
                f"{place.name} cannot take this picture",
                "try another",
            )
        if texts:
            inputs |= _text(model, processing, texts, options.chat, left, given)
    known = {name: value for name, value in inputs.items() if name in takes}
    given.inputs = {name: value for name, value in known.items() if isinstance(value, torch.Tensor)} or known
    tokenizer = processing.maybe_tokenizer if "input_ids" in given.inputs else None
    if tokenizer is not None:
        given.meta["tokens"] = token_rows(tokenizer, given.inputs["input_ids"])
    return given


def _text(
    model: Any, processing: Processing, texts: Sequence[str], chat: bool, left: bool, given: ModelInputs
) -> dict[str, Any]:
    """Tokenize texts; heads for question answering and multiple choice get them in the form that they expect."""
    kind = type(model).__name__
    if kind.endswith("ForQuestionAnswering") and len(texts) == 2 and not chat:
        given.messages.append("The two texts are taken as a question and its context.")
        return dict(processing.tokenizer(texts[0], texts[1], return_tensors="pt"))
    inputs = text_inputs(processing, texts, chat, left)
    if kind.endswith("ForMultipleChoice"):
        given.messages.append("The texts are taken as choices, one of which is right.")
        return {name: value.unsqueeze(0) for name, value in inputs.items()}
    return inputs


def _replace_mask_token(processing: Processing, given: ModelInputs, texts: list[str]) -> None:
    """Replace `[MASK]` in the texts by the model's own mask token."""
    if not any("[MASK]" in text for text in texts):
        return
    mask = getattr(processing.tokenizer, "mask_token", None)
    if mask and mask != "[MASK]":
        given.meta["text"] = [text.replace("[MASK]", mask) for text in texts]


def _placeholder(processing: Processing, kind: str) -> str | None:
    """The token that stands for an image or a sound in a text."""
    found = getattr(processing.processor, f"{kind}_token", None)
    return found if isinstance(found, str) else None


def _with_processor(
    processing: Processing,
    texts: Sequence[str],
    pictures: list[Any],
    sounds: list[Any],
    rate: int,
    chat: bool,
    left: bool,
    given: ModelInputs,
) -> dict[str, Any]:
    """Prepare several modalities with the model's one processor for all of them."""
    whole = processing.processor
    content = [{"type": "image"} for _ in pictures] + [{"type": "audio"} for _ in sounds]
    if chat:
        parts = [*content, *({"type": "text", "text": text} for text in texts)]
        owner = whole if getattr(whole, "chat_template", None) else processing.tokenizer
        texts = [apply_chat_template(owner, [{"role": "user", "content": parts}])]
    for kind, found in (("image", pictures), ("audio", sounds)):
        mark = _placeholder(processing, kind)
        if mark and found and not any(mark in text for text in texts):
            texts = [mark * len(found) + text for text in texts or [""]]
            given.messages.append(f"The text begins with {mark}, which stands for the {kind}.")
    arguments: dict[str, Any] = {"return_tensors": "pt"}
    if texts:
        arguments["text"] = list(texts)
        arguments |= padding(processing.tokenizer, texts, left)
    if pictures:
        arguments["images"] = pictures
    if sounds:
        arguments["audio"] = sounds if len(sounds) > 1 else sounds[0]
        arguments["sampling_rate"] = rate
    return dict(whole(**arguments))


def _fill_missing(model: Any, given: ModelInputs, request: Request, place: Place) -> None:
    """Make up what the forward needs but was not given, such as texts for a model that compares them with images."""
    takes = forward_parameters(model)
    required = {name for name, one in takes.items() if one.default is one.empty}
    several = [next((n for n in names if n in takes), "") for names in (TEXT_INPUTS, IMAGE_INPUTS, AUDIO_INPUTS)]
    compares = len([name for name in several if name]) > 1 and not model.can_generate()
    texts_stand_in = "inputs_embeds" in given.inputs or "decoder_inputs_embeds" in given.inputs
    main = {model.main_input_name} & set(takes) if not texts_stand_in else set()
    missing = (required | main | (set(several) - {""} if compares else set())) - set(given.inputs)
    if not missing or not given.inputs:
        return
    found, _ = make_dummy_inputs(model, request.model.seed, place.name)
    rows = next(len(value) for value in given.inputs.values() if isinstance(value, torch.Tensor))
    for name in sorted(missing & set(found)):
        value = found[name]
        if name == "input_ids" and "pixel_values" in given.inputs and not compares:
            value = value[:, :1]
        given.inputs[name] = value if compares else value.expand(rows, *value.shape[1:])
        given.messages.append(f"The model also takes {describe_shapes({name: value})}: made up.")


def _to_model(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Move the inputs to the model's device and floating-point dtype."""
    first = next((one for one in model.parameters() if one.is_floating_point()), None)
    device = torch.device("meta") if has_only_shapes(model) else getattr(model, "device", None) or torch.device("cpu")
    found = {}
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            if device.type != "meta" or value.is_floating_point():  # the code reads values of ids, masks and sizes
                value = value.to(device)
            if value.is_floating_point() and first is not None and first.dtype.itemsize > 1:
                value = value.to(first.dtype)
        found[name] = value
    return found


def token_rows(tokenizer: Any, ids: torch.Tensor) -> list[list[str]]:
    """The tokens of each row of ids (B, T), as strings."""
    rows = ids.reshape(-1, ids.shape[-1]).tolist()
    return [[str(token) for token in tokenizer.convert_ids_to_tokens(row)] for row in rows]
