"""What a learner writes earns its mark, and each usual mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tftrace.language import speaking
from tftrace.learn.exercise_words import told
from tftrace.learn.exercises import Judged, judge_exercise, write_start
from tftrace.learn.lesson_runs import exercise_recording
from tftrace.learn.usual_mistakes import USUAL
from tftrace.trace.trace import Trace

from .recorded import Recorded

ATTENTION = """
        scores = query @ key.transpose(-2, -1)
        scores = scores / math.sqrt(query.shape[-1])
        scores = scores.masked_fill(~mask, float("-inf"))
        weights = scores.softmax(dim=-1)
        return weights @ value
"""
MULTI_HEAD = """
        def split(y):
            return y.view(batch, tokens, self.heads, -1).transpose(1, 2)

        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
        joined = (weights @ value).transpose(1, 2).reshape(batch, tokens, width)
        return self.output(joined)
"""
MISTAKES = [
    ("key.transpose(-2, -1)", "key", "key not transposed"),
    ("query @ key.transpose", "key @ query.transpose", "query and key swapped"),
    ("        scores = scores / math.sqrt(query.shape[-1])\n", "", "no scale"),
    ("/ math.sqrt(query.shape[-1])", "/ query.shape[-1]", "divided by d_k"),
    ("/ math.sqrt", "* math.sqrt", "multiplied by the root"),
    ("query.shape[-1])", "16)", "root of the width"),
    ('        scores = scores.masked_fill(~mask, float("-inf"))\n', "", "mask lost"),
    ("~mask", "mask", "mask inverted"),
    ('float("-inf")', "0.0", "masked with 0"),
    ('scores.masked_fill(~mask, float("-inf"))', "scores + mask", "mask added"),
    ("dim=-1", "dim=-2", "softmax over the queries"),
    ("dim=-1", "dim=1", "softmax over the heads"),
    ("weights @ value", "weights", "values forgotten"),
    ("weights @ value", "value", "unknown mistake"),
    ("weights @ value", "(weights @ value).sum(-1)", "wrong shape"),
    ("transpose(-2, -1)", "transpose(1, 2)", "shapes"),
]
MULTI_MISTAKES = [
    (
        "(batch, tokens, self.heads, -1).transpose(1, 2)",
        "(batch, self.heads, tokens, -1)",
        "heads split in the wrong order",
    ),
    ("(weights @ value).transpose(1, 2)", "(weights @ value)", "heads joined in the wrong order"),
    (".transpose(1, 2).reshape(batch", ".permute(0, 2, 3, 1).reshape(batch", "heads joined channel by channel"),
    (" / math.sqrt(query.shape[-1])", "", "no scale"),
    ('.masked_fill(~mask, float("-inf"))', "", "mask lost"),
    ("split(self.value(x))", "split(x)", "value not called"),
    ("return self.output(joined)", "return self.output(joined) + x", "output not returned"),
]


def judged(kind: str, body: str, folder: Path, recorded: Recorded) -> Judged:
    file = folder / "mine.py"
    file.unlink(missing_ok=True)
    assert write_start(kind, file, "en")
    text = file.read_text(encoding="utf-8")
    head, _, tail = text.partition("        raise NotImplementedError")
    file.write_text(head + body.strip("\n") + tail[tail.index("\n") :], encoding="utf-8")
    return judge_exercise(kind, Trace(recorded(exercise_recording(file))))


@pytest.mark.parametrize(("kind", "body"), [("attention", ATTENTION), ("multi-head", MULTI_HEAD)])
def test_the_paper_earns_its_mark(kind: str, body: str, tmp_path: Path, recorded: Recorded) -> None:
    found = judged(kind, body, tmp_path, recorded)
    assert found.earned and found.told == ("earned",)
    with speaking("zh"):
        assert told(found)[0].startswith("✓ 这就是注意力")


@pytest.mark.parametrize(("old", "new", "name"), MISTAKES, ids=[name for *_, name in MISTAKES])
def test_each_usual_mistake_of_attention_is_named(
    old: str, new: str, name: str, tmp_path: Path, recorded: Recorded
) -> None:
    assert old in ATTENTION
    found = judged("attention", ATTENTION.replace(old, new), tmp_path, recorded)
    assert not found.earned and name in found.told


@pytest.mark.parametrize(("old", "new", "name"), MULTI_MISTAKES, ids=[name for *_, name in MULTI_MISTAKES])
def test_each_usual_mistake_of_heads_is_named(
    old: str, new: str, name: str, tmp_path: Path, recorded: Recorded
) -> None:
    assert old in MULTI_HEAD
    found = judged("multi-head", MULTI_HEAD.replace(old, new), tmp_path, recorded)
    assert not found.earned and name in found.told


def test_other_ways_to_write_it(tmp_path: Path, recorded: Recorded) -> None:
    torch_does = "        return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)\n"
    assert judged("attention", torch_does, tmp_path, recorded).told == ("earned", "torch did it")
    late = ATTENTION.replace('        scores = scores.masked_fill(~mask, float("-inf"))\n', "")
    late = late.replace("weights @ value", "(weights * mask) @ value")
    assert judged("attention", late, tmp_path, recorded).told == ("masked after the softmax",)
    two = ATTENTION.replace("        scores = scores / math.sqrt(query.shape[-1])\n", "").replace("~mask", "mask")
    assert set(judged("attention", two, tmp_path, recorded).told) == {"no scale", "mask inverted"}
    assert len(USUAL) == 19


def test_what_is_not_written_yet_and_a_start_that_never_overwrites(tmp_path: Path, recorded: Recorded) -> None:
    file = tmp_path / "mine.py"
    for kind in ("attention", "multi-head"):
        file.unlink(missing_ok=True)
        assert write_start(kind, file, "zh") and "你写的" in file.read_text(encoding="utf-8")
        found = judge_exercise(kind, Trace(recorded(exercise_recording(file))))
        assert found.told == ("not written",) and not found.earned
    file.write_text("mine")
    assert not write_start("attention", file, "en") and file.read_text() == "mine"
