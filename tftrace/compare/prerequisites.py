"""What differs between two runs before any numbers of theirs are compared: weights, tokens, mask, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..trace.trace import Trace
from . import same_weights
from .alignment.meeting import Meeting
from .alignment.side import Made, TraceSide
from .alignment.token_pairs import Token, ahead, same_tokens, together
from .comparison import Prerequisite

_NOT_OF_THE_MODEL = re.compile(  # keys of a configuration that change nothing, or are told elsewhere
    r"_name_or_path|transformers_version|(torch_)?dtype|architectures|_attn_implementation\w*|id2label|label2id|"
    r"output_\w+|return_dict|use_cache|problem_type|task_specific_params|\w+_token_id|initializer_\w+|_\w+"
)
_ATTENTION = re.compile(r"(?:^|\.)(\w+?)_attention_forward$")
_VERSIONS = ("torch", "transformers")
_MOST = 6  # names that are listed in a text
_BEGINS = "from the start"


def prerequisites(meeting: Meeting, prefixes: tuple[str, str] | None) -> list[Prerequisite]:
    """What differs before the numbers.

    Args:
        meeting: the two runs and their tokens.
        prefixes: what stands before the common paths of modules in either run; None if they share no paths.
    """
    left, right = meeting.sides
    if not isinstance(left, TraceSide) or not isinstance(right, TraceSide):
        return []
    found = [same_weights.differing(left, right, prefixes), _tokens(meeting), _mask(meeting), _positions(meeting)]
    found += [_config(left.trace, right.trace), _fact("dtype", left.trace, right.trace), _attention(left, right)]
    found += [_mode(left, right), _versions(left.trace, right.trace)]
    return [one for one in found if one is not None]


def _tokens(meeting: Meeting) -> Prerequisite | None:
    """The first token that differs between rows that meet, or how many more one of them begins with."""
    for left, right in meeting.paired_rows:
        if same_tokens(left, right):
            if more := ahead(left, right):
                begins = [f"after {by} more" if by > 0 else _BEGINS for by in (more, -more)]
                return Prerequisite("tokens", begins[0], begins[1], (f"row {left[0].row}",))
            continue
        ours, theirs = together(left, right)
        wrong = [(a, b) for a, b in zip(ours, theirs, strict=False) if a.id != b.id]
        if wrong:
            a, b = wrong[0]
            names = tuple(f"row {a.row}, token {a.key}" for a, _ in wrong[:_MOST])
            return Prerequisite("tokens", f"{a.id}", f"{b.id}", names)
    return None


def _mask(meeting: Meeting) -> Prerequisite | None:
    """Whether the same tokens are masked in one run and seen in the other; no mask is one of ones."""
    for left, right in meeting.paired_rows:
        if len(left) != len(right) or [t.id for t in left] != [t.id for t in right]:
            continue
        if [t.seen for t in left] != [t.seen for t in right]:
            return Prerequisite("mask", _hidden(left), _hidden(right), (f"row {left[0].row}",))
    return None


def _hidden(row: Sequence[Token]) -> str:
    count = sum(not token.seen for token in row)
    return f"{count} of {len(row)} tokens hidden" if count else "every token seen"


def _positions(meeting: Meeting) -> Prerequisite | None:
    """The positions that either run gave to the tokens that meet."""
    sides = [side for side in meeting.sides if isinstance(side, TraceSide)]
    groups = [_position_ids(side) for side in sides]
    if not all(groups) or len(groups) < 2:
        return None
    found = [meeting.vectors(group, bool(n)) for n, group in enumerate(groups)]
    if found[0] is None or found[1] is None:
        return None
    at, ours, theirs = np.intersect1d(found[0].at, found[1].at, return_indices=True)
    left, right = found[0].numbers[ours][:, 0, 0], found[1].numbers[theirs][:, 0, 0]
    if not len(at) or np.array_equal(left, right):
        return None
    names = tuple(one.name for one in (next(iter(group.values())) for group in groups))
    return Prerequisite("positions", _range(left), _range(right), tuple(dict.fromkeys(names)))


def _position_ids(side: TraceSide) -> dict[int, Made]:
    """The position ids of each forward pass, as the embedding took them or as they are called."""
    found: dict[int, Made] = {}
    types, names = side.trace.column("type"), side.trace.column("name")
    for made in side.whole_numbers:
        step = made.step
        named = "position_ids" in made.name
        if not named and step is not None and "Embedding" in str(types[step]):
            named = bool(re.search(r"wpe|position", f"{names[step]} {types[step]}"))
        if named and (made.forward not in found or len(found[made.forward].shape) < len(made.shape)):
            found[made.forward] = made
    return found


def _range(numbers: np.ndarray) -> str:
    whole = numbers.astype(int).tolist()
    if whole == list(range(whole[0], whole[0] + len(whole))) and len(whole) > 1:
        return f"{whole[0]} … {whole[-1]}"
    return ", ".join(map(str, whole[:8])) + (", …" if len(whole) > 8 else "")


def _config(left: Trace, right: Trace) -> Prerequisite | None:
    ours, theirs = (dict(_flat(trace.meta.get("config"))) for trace in (left, right))
    if not ours or not theirs:
        return None
    names = sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key])
    names += sorted(key for key in ours.keys() ^ theirs.keys() if (ours | theirs)[key] not in (None, False, 0, ""))
    if not names:
        return None
    texts = [", ".join(f"{key} {side.get(key, 'none')}" for key in names[:_MOST]) for side in (ours, theirs)]
    return Prerequisite("config", texts[0], texts[1], tuple(names))


def _flat(config: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(config, Mapping):
        return
    for key, value in config.items():
        if _NOT_OF_THE_MODEL.fullmatch(str(key)):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _fact(what: str, left: Trace, right: Trace) -> Prerequisite | None:
    ours, theirs = (trace.meta.get(what) for trace in (left, right))
    if not isinstance(ours, str) or not isinstance(theirs, str) or ours == theirs:
        return None
    return Prerequisite(what, ours, theirs)


def _attention(left: TraceSide, right: TraceSide) -> Prerequisite | None:
    """By which function attention is computed, as the configuration or the functions that ran say."""
    ours, theirs = (_attention_of(side.trace) for side in (left, right))
    return Prerequisite("attention", ours, theirs) if ours and theirs and ours != theirs else None


def _attention_of(trace: Trace) -> str:
    known = trace.meta.get("attention")
    if isinstance(known, str):
        return known
    found = (_ATTENTION.search(name) for name in trace.words("name")[1])
    return ", ".join(sorted({one[1] for one in found if one}))


def _mode(left: TraceSide, right: TraceSide) -> Prerequisite | None:
    """Training or evaluation, and dropout that is active, even if it is in both."""
    modes = [_mode_of(side.trace) for side in (left, right)]
    dropping = [_dropout(side.trace) for side in (left, right)]
    if not any(dropping) and (not all(modes) or modes[0] == modes[1]):
        return None
    texts = [_mode_text(mode, names) for mode, names in zip(modes, dropping, strict=True)]
    return Prerequisite("mode", texts[0], texts[1], tuple(dict.fromkeys((*dropping[0], *dropping[1]))))


def _mode_of(trace: Trace) -> str:
    known = trace.meta.get("mode")
    return known if isinstance(known, str) else ""


def _dropout(trace: Trace) -> list[str]:
    """The modules whose dropout was active: as the recording says, or modules that returned something else."""
    known = trace.meta.get("dropout")
    if isinstance(known, list):
        return [name for name in known if isinstance(name, str)]
    found = []
    types, names = trace.column("type"), trace.column("name")
    for at in [at for at, kind in enumerate(types.tolist()) if kind == "Dropout"]:
        numbers = {row.role: row.tensor for row in trace.tensors_of(at)}
        if len(numbers) == 2 and numbers.get("input") != numbers.get("output"):
            found.append(str(names[at]))
    return found


def _mode_text(mode: str, dropping: list[str]) -> str:
    said = mode or "unknown"
    return f"{said}, dropout active in {len(dropping)} modules" if dropping else said


def _versions(left: Trace, right: Trace) -> Prerequisite | None:
    known = [trace.meta.get("versions") for trace in (left, right)]
    sides = [side for side in known if isinstance(side, dict)]
    if len(sides) < 2:
        return None
    names = [name for name in _VERSIONS if sides[0].get(name) != sides[1].get(name)]
    if not names:
        return None
    texts = [", ".join(f"{name} {side.get(name, 'none')}" for name in names) for side in sides]
    return Prerequisite("versions", texts[0], texts[1], tuple(names))
