"""Correct modules of many styles: none is said to be wrong, and what they compute is seen and holds."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import torch

import tftrace

from ...support.bits import same
from ...support.ordinary import ENTRIES
from ...support.ordinary.entry import Entry
from ..check.test_evidence import ORDINARY

pytestmark = pytest.mark.usefixtures("no_grad")

NAMED = [pytest.param(entry, id=f"{entry.style}: {entry.name}") for entry in ENTRIES]


def checks(entry: Entry, level: str = "lines") -> tuple[list[dict[str, Any]], tftrace.Trace]:
    model, given = entry()
    bare = model(*given)
    with tftrace.record(model, level=level) as trace:
        recorded = model(*given)
    assert same(recorded, bare) and trace.meta.get("failure") is None
    return trace.checks.to_pylist(), trace


def wrong(rows: list[dict[str, Any]], trace: tftrace.Trace) -> list[tuple[str, str | None]]:
    """What differs, but for what other models do on purpose."""
    found = []
    for row in rows:
        variants = (trace.equation(row["equation"]) or {}).get("variant", [])
        kinds = {variant["name"]: variant["kind"] for variant in variants}
        if row["verdict"] == "differs" and kinds.get(row["variant"]) != "design":
            found.append((row["equation"], row["variant"]))
    return found


@pytest.mark.parametrize("entry", NAMED)
def test_it_holds(entry: Entry) -> None:
    rows, trace = checks(entry)
    assert wrong(rows, trace) == []
    held = [row["equation"] for row in rows if row["verdict"] == "holds"]
    missing = [name for name in entry.holds if not any(re.search(name, equation) for equation in held)]
    assert missing == []


@pytest.mark.parametrize("level", ["functions", "ops"])
@pytest.mark.parametrize("entry", NAMED[::9])
def test_at_other_levels(entry: Entry, level: str) -> None:
    rows, trace = checks(entry, level)
    assert wrong(rows, trace) == []
    held = [row["equation"] for row in rows if row["verdict"] == "holds"]
    assert [name for name in entry.holds if not any(name in equation for equation in held)] == []


def test_at_level_modules_nothing_is_claimed() -> None:
    entry = next(entry for entry in ENTRIES if entry.name == "scores_in_place")
    model, given = entry()
    with tftrace.record(model, level="modules", check=True) as trace:
        model(*given)
    assert {row["equation"] for row in trace.checks.to_pylist()} == {"linear"}


def test_there_are_enough_of_them() -> None:
    names = Counter((entry.style, entry.name) for entry in ENTRIES)
    assert max(names.values()) == 1 and len(ENTRIES) + len(ORDINARY) >= 120
    assert len([entry for entry in ENTRIES if entry.has_attention]) >= 55
    assert all(torch.is_tensor(one) for entry in ENTRIES[:5] for one in entry()[1])


def test_what_is_only_guessed_says_nothing_beside_what_was_seen() -> None:
    entry = next(entry for entry in ENTRIES if entry.name == "mlp_of_patches")
    rows, trace = checks(entry)
    of_root = [(row["equation"], row["verdict"]) for row in rows if row["step"] == 0]
    assert of_root == [("feed-forward-seen", "holds")]
    assert trace[0].equation == "feed-forward-seen"


@pytest.mark.parametrize("how", ["bfloat16", "autocast", "training"])
@pytest.mark.parametrize("entry", NAMED[::5] + [p for p in NAMED if "queries_and_keys_normed" in str(p.id)])
def test_it_is_not_wrong_in_other_ways_of_running(entry: Entry, how: str) -> None:
    model, given = entry()
    if how == "bfloat16":
        model = model.bfloat16()
        given = tuple(x.bfloat16() if torch.is_tensor(x) and x.is_floating_point() else x for x in given)
    model.train(how == "training")
    with torch.autocast("cpu", enabled=how == "autocast"), tftrace.record(model) as trace:
        try:
            model(*given)
        except RuntimeError:  # a buffer of its own is not in this dtype
            assert how == "bfloat16"
    assert wrong(trace.checks.to_pylist(), trace) == [] and trace.meta.get("failure") is None
