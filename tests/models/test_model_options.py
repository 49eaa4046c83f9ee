"""What the options of `tftrace record` do to a model and to what it is given, against the same done by hand."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import save_file

import tftrace
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.models.inputs import files
from tftrace.models.load import Loaded, load, load_again
from tftrace.models.request import GenerationOptions, InputOptions, ModelOptions, Request

from ..support import local_models as local
from ..support.bits import same
from ..support.zoo_models import DECODER, WORDS

DEMO = Path(tftrace.__file__).parent / "demo"


def made(source: Any, *, text: str = "", **options: Any) -> Loaded:
    """Load with some options, whichever of the three kinds they are."""
    kinds: dict[str, Any] = {"model": ModelOptions, "input": InputOptions, "generation": GenerationOptions}
    options |= {"text": (text,)} if text else {}
    parts: dict[str, Any] = {
        name: kind(**{key: value for key, value in options.items() if key in {field.name for field in fields(kind)}})
        for name, kind in kinds.items()
    }
    return load(Request(source=str(source), **parts))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("disk")
    local.natural(root)
    for name in ("llava", "clip", "whisper", "llama", "reads_pictures", "distilbert_answers", "bert_masked", "gemma2"):
        local.save(name, root / name)
    return root


# -- settings, heads -----------------------------------------------------------------------------------


def test_settings_change_the_model_and_keep_the_weights_that_fit() -> None:
    loaded = made("demo:bert", settings=("num_hidden_layers=1", "hidden_act=relu", "hidden_dropout_prob=0.3"))
    config = loaded.model.config
    assert (config.num_hidden_layers, config.hidden_act, config.hidden_dropout_prob) == (1, "relu", 0.3)
    assert loaded.messages == ["Dropped, as the model has no place for them: bert.encoder.layer.1 (16 weights)."]
    whole = hf.AutoModelForSequenceClassification.from_pretrained(DEMO / "bert").state_dict()
    kept = loaded.model.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in kept.items()) and len(kept) == len(whole) - 16


def test_weights_of_another_shape_and_missing_ones_are_initialised_anew_and_said() -> None:
    loaded = made("demo:bert", settings=("num_hidden_layers=3", "intermediate_size=100"))
    first, second = loaded.messages
    assert first.startswith(
        "Newly initialised, as their shapes differ from those saved: bert.encoder.layer.0 (3 weights)"
    )
    assert second == "Newly initialised, as none were saved: bert.encoder.layer.2 (16 weights)."
    again = made("demo:bert", settings=("num_hidden_layers=3", "intermediate_size=100"))
    assert same(dict(loaded.model.state_dict()), dict(again.model.state_dict()))  # seeded


def test_what_follows_from_a_number_follows_it(disk: Path) -> None:
    config = made(disk / "gemma2", random=True, settings=("num_hidden_layers=3",)).model.config
    assert config.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]
    config = made("demo:bert", settings=("num_labels=4",)).model.config
    assert len(config.id2label) == 4
    config = made(disk / "llava", random=True, settings=("text_config.num_hidden_layers=1",)).model.config
    assert (config.text_config.num_hidden_layers, config.vision_config.num_hidden_layers) == (1, 2)
    config = made("demo:gpt2", settings=("num_hidden_layers=1",)).model.config  # by the name that all have in common
    assert config.n_layer == 1


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"task": "fill-mask"}, "BertForMaskedLM"),
        ({"task": "ner"}, "BertForTokenClassification"),
        ({"head": "MaskedLM"}, "BertForMaskedLM"),
        ({"head": "BertForQuestionAnswering"}, "BertForQuestionAnswering"),
        ({"head": "none"}, "BertModel"),
        ({"task": "feature-extraction"}, "BertModel"),
        ({}, "BertForSequenceClassification"),
    ],
)
def test_the_head_is_the_one_that_was_saved_or_the_one_that_is_named(options: dict[str, str], kind: str) -> None:
    assert type(made("demo:bert", text="good", **options).model).__name__ == kind


def test_a_config_may_not_name_any_class(tmp_path: Path) -> None:
    config = {"model_type": "llama", "architectures": ["pipeline", "Trainer", "BertModel", "__doc__"]} | DECODER
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert type(made(tmp_path, random=True).model).__name__ == "LlamaForCausalLM"


def test_precision_attention_and_seed(disk: Path) -> None:
    model = made("demo:bert", dtype="bfloat16", attn="eager").model
    assert model.dtype is torch.bfloat16 and model.config._attn_implementation == "eager"
    first, second, other = (made(disk / "llama", random=True, seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert same(dict(first), dict(second)) and not same(dict(first), dict(other))


@pytest.mark.parametrize("attn", ["eager", "sdpa", pytest.param("flex_attention", marks=pytest.mark.slow)])
def test_attention_is_recorded_as_it_was_asked_for(attn: str, disk: Path, tmp_path: Path) -> None:
    options = ["--attn", attn, "--text", "the cat", "--level", "functions", "-o", str(tmp_path / "run")]
    assert main(["record", str(disk / "llama"), *options]) == 0
    functions = {step.type for step in tftrace.load(tmp_path / "run") if step.kind == "function"}
    assert f"{attn.removesuffix('_attention')}_attention_forward" in functions


# -- what the model is given -----------------------------------------------------------------------------


def test_several_texts_are_one_padded_batch() -> None:
    loaded = made("demo:bert")
    tokenizer = loaded.processing.tokenizer
    loaded = load(Request(source="demo:bert", input=InputOptions(text=("I love it.", "No, I do not, not at all."))))
    expected = tokenizer(["I love it.", "No, I do not, not at all."], return_tensors="pt", padding=True)
    assert torch.equal(loaded.inputs["input_ids"], expected["input_ids"]) and not expected["attention_mask"].all()


def test_a_question_stands_before_its_context(disk: Path) -> None:
    loaded = load(Request(source=str(disk / "distilbert_answers"), input=InputOptions(text=("on the", "the cat sat"))))
    assert loaded.meta["tokens"] == [["on", "the", "the", "cat", "sat"]]
    assert loaded.messages == ["The two texts are taken as a question and its context."]


def test_every_models_mask_is_called_the_same(disk: Path) -> None:
    loaded = made(disk / "bert_masked", text="the [MASK] sat")
    best = loaded.model(**loaded.inputs).logits[0, 2].softmax(-1).max()
    assert loaded.describe(loaded.run()).startswith("the mask is “") and f"{best:.2f}" in loaded.describe(loaded.run())


def test_a_picture_and_texts_are_compared(disk: Path) -> None:
    images = (str(disk / "picture.png"),)
    loaded = load(Request(source=str(disk / "clip"), input=InputOptions(text=("the cat", "w1 w2 w3"), image=images)))
    pairs = loaded.run().logits_per_image
    best = ("the cat", "w1 w2 w3")[int(pairs[0].argmax())]
    assert pairs.shape == (1, 2) and loaded.describe(loaded.run()) == f"“{best}” {pairs[0].softmax(-1).max():.2f}"
    loaded = made(disk / "clip", text="the cat")  # half of what it compares
    assert loaded.messages == ["The model also takes pixel_values 1×3×16×16: made up."]
    assert loaded.run().logits_per_image.shape == (1, 1)


def test_a_picture_in_a_conversation(disk: Path) -> None:
    images = (str(disk / "picture.png"),)
    options = InputOptions(text=("the cat",), image=images, chat=True)
    loaded = load(Request(source=str(disk / "llava"), input=options))
    assert loaded.meta["tokens"] == [["[BOS]", *["<image>"] * 4, "the", "cat", "w2"]]
    plain = load(Request(source=str(disk / "llava"), input=InputOptions(text=("the cat",), chat=True)))
    assert plain.meta["tokens"][0][-4:] == ["w1", "the", "cat", "w2"]


def test_a_sound_has_the_models_rate(tmp_path: Path) -> None:
    seconds = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * seconds)
    import soundfile

    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], 1), 8000)
    for rate in (4000, 8000, 16000, 11025):
        found = files.read_sound(str(tmp_path / "tone.wav"), rate)
        expected = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
        assert len(found) == rate and np.abs(found - expected).max() < 1e-3


def test_without_soundfile_one_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tone.wav").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(TraceError, match=r"^Sounds need soundfile: install it with pip install 'tftrace\[audio\]'\.$"):
        files.read_sound(str(tmp_path / "tone.wav"), 8000)


@pytest.mark.parametrize("form", ["json", "npz", "safetensors"])
def test_tensors_of_a_file_are_the_inputs(form: str, tmp_path: Path) -> None:
    ids, mask = [[1, 7, 9], [1, 4, 0]], [[1, 1, 1], [1, 1, 0]]
    path = tmp_path / f"given.{form}"
    if form == "json":
        path.write_text(json.dumps({"input_ids": ids, "attention_mask": mask}))
    elif form == "npz":
        np.savez(path, input_ids=np.array(ids), attention_mask=np.array(mask))
    else:
        save_file({"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}, path)
    loaded = made("demo:bert", inputs=str(path))
    model = hf.AutoModelForSequenceClassification.from_pretrained(DEMO / "bert").eval()
    with torch.no_grad():
        expected = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    assert torch.equal(loaded.run().logits, expected.logits)


def test_a_text_that_is_longer_than_the_model_was_made_for_is_said(disk: Path) -> None:
    said = made(disk / "llama", text="the cat " * 40).messages
    assert said == ["The text has 81 tokens, more than the 64 that the model was made for."]


def test_a_picture_is_seen_where_there_are_only_shapes(disk: Path) -> None:
    images = (str(disk / "picture.png"),)
    for given in (InputOptions(text=("the cat",), image=images), InputOptions()):
        model = ModelOptions(shapes_only=True)
        output = load(Request(source=str(disk / "llava"), model=model, input=given)).run()
        tokens = 7 if given.text else 20  # four of them are the picture's
        assert output.logits.is_meta and output.logits.shape == (1, tokens, WORDS)
        assert output.image_hidden_states[0].shape[-1] == 16  # a list since transformers 5.24


def test_code_that_comes_with_a_model_runs_only_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.py").write_text(
        "import pathlib, torch, transformers\n"
        f"pathlib.Path({str(tmp_path / 'ran')!r}).write_text('ran')\n"
        "class Config(transformers.PretrainedConfig):\n"
        "    model_type = 'own'\n"
        "class Model(transformers.PreTrainedModel):\n"
        "    config_class = Config\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config)\n"
        "        self.up = torch.nn.Linear(4, 8)\n"
        "        self.post_init()\n"
        "    def forward(self, inputs_embeds):\n"
        "        return self.up(inputs_embeds)\n"
    )
    auto = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto, "hidden_size": 4}))
    monkeypatch.setattr(hf.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path / "cache"))
    options = [str(folder), "--random", "-o", str(tmp_path / "run"), "--level", "modules"]
    assert main(["record", *options]) == 2
    assert "--trust-remote-code" in capsys.readouterr().err and not (tmp_path / "ran").exists()
    assert main(["record", *options, "--trust-remote-code"]) == 0
    assert (tmp_path / "ran").exists() and tftrace.load(tmp_path / "run").meta["model"] == "Model"


# -- generation ------------------------------------------------------------------------------------------


def test_each_token_of_a_generation_is_a_forward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--generate", "4", "--text", "One day", "--level", "modules", "-o", str(tmp_path / "run")]
    assert main(["record", "demo:gpt2", *options]) == 0
    trace = tftrace.load(tmp_path / "run")
    assert [step.forward for step in trace if step.parent is None] == [0, 1, 2, 3]
    model = hf.AutoModelForCausalLM.from_pretrained(DEMO / "gpt2").eval()
    tokenizer = hf.AutoTokenizer.from_pretrained(DEMO / "gpt2")
    given = tokenizer("One day", return_tensors="pt")
    written = model.generate(**given, max_new_tokens=4, do_sample=False)[0, given["input_ids"].shape[1] :]
    assert (
        trace.meta["result"] == f"“{tokenizer.decode(written).strip()}”"
        and trace.meta["result"] in capsys.readouterr().err
    )


def test_sampling_is_seeded_and_is_what_the_flags_say() -> None:
    def said(**options: Any) -> list[int]:
        ids: list[int] = made("demo:gpt2", text="One day", generate=16, **options).run()[0].tolist()
        return ids

    assert said(temperature=5.0, seed=1) == said(temperature=5.0, seed=1) != said(temperature=5.0, seed=2)
    assert said(top_k=1, temperature=5.0) == said() != said(repetition_penalty=5.0)
    loaded = made("demo:gpt2", generate=2, top_p=0.5, num_beams=2)
    assert loaded.generation == {"max_new_tokens": 2, "do_sample": True, "top_p": 0.5, "num_beams": 2}


@pytest.mark.parametrize(("name", "option"), [("whisper", "audio"), ("reads_pictures", "image"), ("llava", "image")])
def test_sounds_and_pictures_become_text(name: str, option: str, disk: Path) -> None:
    file = {"audio": "sound.wav", "image": "picture.png"}[option]
    loaded = made(disk / name, generate=3, text="", **{option: (str(disk / file),)})
    output = loaded.run()
    written = output[0].tolist()[-3:]
    assert output.shape[1] > 1 and loaded.describe(output).startswith("“")
    assert loaded.processing.tokenizer.decode(written, skip_special_tokens=True).strip() in loaded.describe(output)


# -- again -----------------------------------------------------------------------------------------------


def test_a_trace_holds_what_is_needed_to_run_its_model_again(disk: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(disk)
    options = ["--image", "picture.png", "--text", "the cat", "--set", "text_config.num_hidden_layers=1", "--seed", "3"]
    assert main(["record", "llava", *options, "--random", "--level", "modules", "-o", str(tmp_path / "run")]) == 0
    trace = tftrace.load(tmp_path / "run")
    monkeypatch.chdir(tmp_path)  # where `llava` and `picture.png` are no paths
    again = load_again(trace.meta)
    logits = again.run().logits
    row = next(row for row in trace[0].tensors if row.role == "output" and row.name == "logits")
    assert row.mean == pytest.approx(float(logits.double().mean()), rel=1e-12)
    assert trace.meta["request"]["model"]["settings"] == ["text_config.num_hidden_layers=1"]


def test_a_trace_cannot_ask_for_its_code_to_be_trusted() -> None:
    meta = {"request": Request(source="x", model=ModelOptions(trust_remote_code=True)).to_meta()}
    assert not Request.from_meta(meta).model.trust_remote_code
    assert Request.from_meta(meta, trust_remote_code=True).model.trust_remote_code
    for wrong in ({}, {"request": 3}, {"request": {"source": 3}}, {"request": {"source": "x", "model": 3}}):
        with pytest.raises(TraceError, match="record it"):
            Request.from_meta(wrong)


@pytest.mark.slow
def test_a_model_of_70_billion_weights_shows_its_shapes(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
    }
    config |= {"num_key_value_heads": 8, "vocab_size": 128256, "dtype": "bfloat16"}
    (tmp_path / "llama.json").write_text(json.dumps({"model_type": "llama"} | config))
    assert main(["record", "--shapes-only", "--config", str(tmp_path / "llama.json"), "-o", str(tmp_path / "run")]) == 0
    trace = tftrace.load(tmp_path / "run")
    attention = [step for step in trace if step.type == "LlamaAttention"]
    assert len(attention) == 80
    assert {tuple(row.shape) for step in attention for row in step.tensors if row.name == "[0]"} == {(1, 16, 8192)}
    assert {check.verdict for step in trace for check in step.checks} == {"unchecked"}
    assert all("no numbers" in str(check.reason) for step in trace for check in step.checks)
