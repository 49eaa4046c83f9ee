"""The demo models that ship in the package: they load, they are small, and they do what their cards say.

What they do is asserted on inputs that none of them was trained on, and so is what their attention shows: a demo
whose maps are mush would be of no use to a debugger.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

if TYPE_CHECKING:
    from demo_numbers import Example

ROOT = Path(__file__).resolve().parents[2]
DEMO, EXAMPLES = ROOT / "tftrace" / "demo", ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))
AUTO = {"bert": AutoModelForSequenceClassification, "gpt2": AutoModelForCausalLM, "transformer": AutoModelForSeq2SeqLM}
SENTENCES = [
    ("I love this movie", 1),
    ("This is the worst film I have ever seen", 0),
    ("A wonderful, touching story.", 1),
    ("The food was terrible and the service was slow", 0),
    ("What a great day!", 1),
    ("not good", 0),
    ("I don't like it", 0),
    ("The plot is boring", 0),
    ("An excellent performance by the whole cast", 1),
    ("The movie was not good.", 0),
    ("I did not like the food", 0),
    ("Not bad at all.", 1),
    ("The soup was not bad.", 1),
    ("It isn't funny.", 0),
    ("Nobody enjoyed the party.", 0),
]
DATES = {
    "2026-11-22": "the twenty second of november two thousand twenty six",
    "1984-03-31": "the thirty first of march nineteen eighty four",
    "12,345": "twelve thousand three hundred forty five",
    "7": "seven",
    "1,000,000": "one million",
}


def load(name: str, **how: Any) -> tuple[Any, Any]:
    return AUTO[name].from_pretrained(DEMO / name, **how).eval(), AutoTokenizer.from_pretrained(DEMO / name)


@pytest.fixture(scope="module", params=AUTO)
def demo(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    return request.param, *load(request.param)


def test_ready_to_use(demo: tuple[str, Any, Any]) -> None:
    """Plain loading gives float32, whatever Auto class is asked, and the tokenizer what the model takes."""
    name, model, tokenizer = demo
    for loaded in (model, AutoModel.from_pretrained(DEMO / name)):
        assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert ("token_type_ids" in tokenizer("one")) == (name == "bert")
    assert "license: apache-2.0" in (DEMO / name / "README.md").read_text()


def test_small_together() -> None:
    sizes = {file: file.stat().st_size for name in AUTO for file in (DEMO / name).rglob("*") if file.is_file()}
    assert sum(sizes.values()) <= 3_000_000, sizes


def test_bert_tells_plain_sentences() -> None:
    model, tokenizer = load("bert")
    texts, expected = zip(*SENTENCES, strict=True)
    with torch.no_grad():
        answers = model(**tokenizer(list(texts), return_tensors="pt", padding=True)).logits.argmax(-1)
    assert [text for text, one, other in zip(texts, answers.tolist(), expected, strict=True) if one != other] == []
    assert model.config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}


def test_bert_splits_unknown_words() -> None:
    tokens = load("bert")[1].tokenize("zygomorphic xylophones")
    assert "[UNK]" not in tokens and len(tokens) > 2


def test_gpt2_keeps_to_what_it_introduced() -> None:
    from demo_stories import faults

    model, tokenizer = load("gpt2")
    torch.manual_seed(0)
    inputs = tokenizer(["Once upon a time"] * 20, return_tensors="pt")
    greedy = tokenizer.decode(
        model.generate(**tokenizer("Once upon a time", return_tensors="pt"))[0], skip_special_tokens=True
    )
    sampled = tokenizer.decode(model.generate(**inputs, do_sample=True, top_k=0), skip_special_tokens=True)
    assert greedy.startswith("Once upon a time") and faults(greedy) == []
    assert sum(not faults(text) for text in sampled) >= 16, [faults(text) for text in sampled]


def test_gpt2_writes_a_name_it_was_given() -> None:
    """The names are none of those that the training stories had."""
    model, tokenizer = load("gpt2")
    for name in ("Misa", "Kavi", "Nala"):
        prompt = f"Once upon a time there was a kind girl named {name}."
        ids = model.generate(**tokenizer(prompt, return_tensors="pt"))[0]
        assert tokenizer.decode(ids, skip_special_tokens=True).count(name) >= 3


def held_out_dates(count: int) -> list[Example]:
    from demo_numbers import date_example
    from demo_training import is_held_out

    days = (date(1900, 1, 1) + timedelta(days=97 * step) for step in range(700))
    return [date_example(day) for day in days if is_held_out(day.isoformat())][:count]


def test_transformer_spells() -> None:
    model, tokenizer = load("transformer")
    pairs = DATES | {example.source: example.target for example in held_out_dates(10)}
    assert len(pairs) >= 12
    for source, target in pairs.items():
        inputs = tokenizer(source, return_tensors="pt")
        assert tokenizer.decode(model.generate(**inputs)[0], skip_special_tokens=True) == target


@pytest.mark.parametrize("name", AUTO)
def test_attention_shows_what_the_card_says(name: str) -> None:
    """The shares that the training script wrote into the card are measured again, roughly."""
    import train_demo_bert as bert
    import train_demo_gpt2 as gpt2
    import train_demo_transformer as transformer

    model, tokenizer = load(name, attn_implementation="eager")
    if name == "bert":
        adjective, _, bind = bert.attention(model, tokenizer, [text for text, _ in SENTENCES])
        assert adjective.max() > 0.3 and bind.max() > 0.3
    elif name == "gpt2":
        text = (
            "Once upon a time there was a kind girl named Misa. She had a red kite. One day Misa took the kite "
            "and walked to the park. There she met a boy named Tolo. Tolo was sad. Misa said"
        )
        assert gpt2.look_back(model, tokenizer, [text])[0].max() > 0.5
    else:
        shares, even = transformer.alignment(model, tokenizer, held_out_dates(10))
        assert shares.max() > 0.8 > 2 * even


@pytest.mark.slow
@pytest.mark.parametrize("name", AUTO)
def test_script_trains_a_model_that_loads(name: str, tmp_path: Path) -> None:
    if name == "bert":
        pytest.importorskip("vaderSentiment")
    command = [
        sys.executable,
        str(EXAMPLES / f"train_demo_{name}.py"),
        "--out",
        str(tmp_path),
        "--steps",
        "3",
        "--examples",
        "600",
    ]
    subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, timeout=300)
    AUTO[name].from_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("one").input_ids
    assert re.search("Trained for 3 steps", (tmp_path / "README.md").read_text())
