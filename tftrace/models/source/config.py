"""Loads a model's config and applies `--set key=value` to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from ...errors import TraceError
from ..request import ModelOptions
from .failure import attempt, reason
from .locate import Place

_KINDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a word",
    "list": "a list such as [1, 2]", "dict": 'an object such as {"a": 1}',
}  # fmt: skip

_MOST = 10_000  # layers, blocks or experts of a model
_COUNTS = re.compile(r"(^|_)(layers?|depths?|blocks|experts)$", re.ASCII)

_USUAL = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")  # fields that most configs have


def load_config(place: Place, options: ModelOptions) -> PreTrainedConfig:
    """Load the config and apply `options.settings` to it; raises TraceError for a setting that it does not take."""
    hint = "check its config.json" if place.local else "check the name, or name a local folder or demo:bert"
    said = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    failed = f"There is no model {place.name!r} that can be loaded"
    if place.local:
        check_counts(attempt(lambda: _written(place, options), place, failed, hint))
    config: PreTrainedConfig = attempt(
        lambda: AutoConfig.from_pretrained(place.path_or_id, **said),
        place,
        failed,
        hint,
    )
    if not options.settings:
        return config
    wanted = [_parse_setting(config, said) for said in options.settings]
    return _apply_settings(config, wanted)


def _written(place: Place, options: ModelOptions) -> Any:
    """The config as it is written; making a config of it may already take a list with an entry for each layer."""
    return PreTrainedConfig.get_config_dict(place.path_or_id, revision=options.revision)[0]


def check_counts(data: Any, above: str = "") -> None:
    """Raise TraceError if a config has more layers, blocks or experts than could ever be built."""
    for name, value in data.items() if isinstance(data, Mapping) else ():
        if isinstance(value, int) and value > _MOST and _COUNTS.search(name):
            raise TraceError(f"`{above}{name}` is {value}, more than any memory holds: choose at most {_MOST}.")
        check_counts(value, f"{above}{name}.")


def _parse_setting(config: PreTrainedConfig, said: str) -> tuple[list[str], Any]:
    """Parse `text_config.num_hidden_layers=2` into the field's path, under its canonical name, and a typed value."""
    name, equals, value = said.partition("=")
    if not equals or not name.strip():
        raise TraceError(f"--set takes key=value, such as num_hidden_layers=2, not {said!r}.")
    *above, key = name.strip().split(".")
    holder: Any = config
    for at, part in enumerate(above):
        inner = getattr(holder, part, None) if part in _field_names(holder) else None
        if not isinstance(inner, (PreTrainedConfig, dict)):
            raise TraceError(_unknown_field(config, holder, ".".join(above[: at + 1]), part))
        holder = inner
    if key not in _field_names(holder):
        raise TraceError(_unknown_field(config, holder, name.strip(), key))
    key = getattr(holder, "attribute_map", {}).get(key, key)
    return [*above, key], _convert(holder, key, value.strip())


def _field_names(holder: Any) -> set[str]:
    """The fields of a config that can be set."""
    if isinstance(holder, dict):
        return set(holder)
    declared = {one.name for one in fields(holder)} if is_dataclass(holder) else set()
    return {
        name
        for name in {*declared, *vars(holder), *holder.attribute_map, "num_labels"}
        if not name.startswith("_") and name not in ("transformers_version", "architectures")
    }


def _unknown_field(config: PreTrainedConfig, holder: Any, path: str, key: str) -> str:
    """The error for an unknown field, with the most similar fields of this config or of one nested in it."""
    known = _field_names(holder)
    parts = {name: part for name, part in vars(config).items() if isinstance(part, (PreTrainedConfig, dict))}
    within = [f"{name}.{key}" for name, part in sorted(parts.items()) if holder is config and key in _field_names(part)]
    close = get_close_matches(key, sorted(known), n=2, cutoff=0.7) or [n for n in sorted(known) if key in n or n in key]
    prefix = path[: -len(key)]
    names = within or [prefix + name for name in close[:2]]
    if names:
        return f"There is no `{path}`: did you mean {' or '.join(f'`{name}`' for name in names)}?"
    usual = [name for name in _USUAL if name in known] or sorted(known)[:4]
    more = f" and {len(known) - len(usual)} more" if len(known) > len(usual) else ""
    return f"There is no `{path}` in the config of {config.model_type}: there are {', '.join(usual)}{more}."


def _convert(holder: Any, key: str, said: str) -> Any:
    """Convert the text of a setting to the type of the config's field; raises TraceError if it does not fit."""
    try:
        value = json.loads({"True": "true", "False": "false", "None": "null"}.get(said, said))
    except ValueError:
        value = said
    accepted = _accepted_types(holder, key)
    present: Any = holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)
    if all(type(number) in (int, float) for number in (value, present)) and value < 0 < present and key[-3:] != "_id":
        raise TraceError(f"`{key}` cannot be negative, as in {said!r}.")
    kind = "None" if value is None else type(value).__name__
    if not accepted or kind in accepted:
        return value
    if kind == "int" and "float" in accepted:
        return float(value)
    if "str" in accepted:
        return said
    words = " or ".join(_KINDS[one] for one in _KINDS if one in accepted)
    raise TraceError(f"`{key}` takes {words or 'another kind of value'}, not {said!r}.")


def _accepted_types(holder: Any, key: str) -> set[str]:
    """Names of the types that a field takes, by its declaration or else its present value; empty for any type."""
    if is_dataclass(holder):
        for one in fields(holder):
            if one.name == key:
                said = getattr(one.type, "__name__", None) if isinstance(one.type, type) else None
                return set(re.findall(r"\w+", said or str(one.type).replace("NoneType", "None")))
    present: Any = holder.get(key) if isinstance(holder, dict) else getattr(holder, key, None)
    return set() if present is None else {type(present).__name__}


def _apply_settings(config: PreTrainedConfig, wanted: Sequence[tuple[list[str], Any]]) -> PreTrainedConfig:
    """Rebuild the config with the settings applied, so that derived fields follow."""
    told = ", ".join(f"{'.'.join(path)}={json.dumps(value)}" for path, value in wanted)
    data = config.to_dict()
    for path, value in wanted:
        check_counts({path[-1]: value}, "".join(f"{one}." for one in path[:-1]))
        part = data
        for step in path[:-1]:
            part = part[step]
        _update_derived(part, path[-1], value, {path[-1] for path, _ in wanted})
        part[path[-1]] = value
    try:
        made: PreTrainedConfig = type(config).from_dict(data)
    except Exception as error:  # each config validates in its own way
        raise TraceError(f"--set {told} does not make a config of {config.model_type} ({reason(error)}).") from error
    _check_heads(made, told)
    for path, value in wanted:
        kept: Any = made
        for step in path:
            kept = kept.get(step) if isinstance(kept, Mapping) else getattr(kept, step, None)
        if kept != value:
            raise TraceError(
                f"The config of {config.model_type} takes no other `{'.'.join(path)}`: it keeps {kept!r}, which "
                "follows from other settings."
            )
    return made


def _check_heads(config: PreTrainedConfig, told: str) -> None:
    """Raise TraceError if the key/value heads do not divide the query heads; a model would fail only when it runs."""
    heads, shared = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if isinstance(heads, int) and isinstance(shared, int) and (shared < 1 or heads % shared):
        raise TraceError(
            f"--set {told} leaves {heads} heads of attention and {shared} of keys and values: the second must "
            "divide the first."
        )
    for part in vars(config).values():
        if isinstance(part, PreTrainedConfig):
            _check_heads(part, told)


_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "n_layers", "depth")
_HIDDEN = ("hidden_size", "d_model", "n_embd")
_HEADS = ("num_attention_heads", "n_head", "num_heads")


def _update_derived(part: dict[str, Any], key: str, value: Any, chosen: set[str]) -> None:
    """Update what depends on a changed field: lists with an entry per layer, the size of a head, the labels."""
    old = part.get(key)
    if key in _LAYERS and isinstance(old, int) and isinstance(value, int) and old > 0:
        for name, entries in part.items():
            if isinstance(entries, list) and len(entries) == old and name not in chosen:
                part[name] = [entries[at % old] for at in range(value)]
    if key in (*_HIDDEN, *_HEADS) and "head_dim" not in chosen:
        sizes = [next((part[name] for name in names if name in part), None) for names in (_HIDDEN, _HEADS)]
        if all(isinstance(size, int) and size > 0 for size in sizes) and part.get("head_dim") == sizes[0] // sizes[1]:  # type: ignore[operator]
            del part["head_dim"]
    if key == "num_labels":
        part.pop("id2label", None)
        part.pop("label2id", None)
