"""Every mistake in what is to be recorded gets one sentence that says what to do, exit code 2, and leaves nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from huggingface_hub import errors as hub
from safetensors.torch import save_file

import tftrace
from tftrace.cli import main
from tftrace.models.weights import memory

from ..support import local_models as local
from ..support.zoo_models import DECODER

DEMO = Path(tftrace.__file__).parent / "demo"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and files with something wrong with each, and a few good ones."""
    root = tmp_path_factory.mktemp("disk")
    local.natural(root)
    local.save("vit", root / "vit")
    local.save("llava", root / "llava")
    local.save("wav2vec2", root / "wav2vec2")
    local.save("llama", root / "llama")

    def copy(name: str, *files: str) -> Path:
        (root / name).mkdir()
        for file in files:
            shutil.copy(DEMO / "bert" / file, root / name)
        return root / name

    copy("bare", "config.json", "model.safetensors")
    copy("weightless", "config.json", "tokenizer.json", "tokenizer_config.json")
    damaged = copy("damaged", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
    (damaged / "model.safetensors").write_bytes((DEMO / "bert" / "model.safetensors").read_bytes()[:5000])
    (copy("broken") / "config.json").write_text('{"model_type": "bert", ')
    (copy("unknown") / "config.json").write_text('{"model_type": "perceptron9"}')
    remote = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (copy("remote") / "config.json").write_text(json.dumps(remote))
    (copy("adapter") / "adapter_config.json").write_text("{}")
    local.save("bert", copy("outer") / "inner")
    (root / "llama.json").write_text(json.dumps({"model_type": "llama"} | DECODER))
    (root / "deep.json").write_text(json.dumps({"model_type": "llama"} | DECODER | {"num_hidden_layers": 10**9}))
    shutil.copytree(DEMO / "gpt2", root / "refusing")
    (root / "refusing" / "chat_template.jinja").write_text("{{ raise_exception('Only a system may speak') }}")
    (root / "picture.txt").write_text("no picture")
    (root / "silence.wav").write_bytes(b"RIFF")
    given: dict[str, Any] = {
        "flat": {"input_ids": [1, 2, 3]},
        "misnamed": {"input_idz": [[1, 2, 3]]},
        "huge": {"input_ids": [[1, 99999]]},
        "ragged": {"input_ids": [[1, 2], [3]]},
        "words": {"input_ids": [["a"]]},
        "mask": {"input_ids": [[1, 2, 3]], "attention_mask": [[1, 1]]},
        "batches": {"input_ids": [[1, 2], [1, 2]], "decoder_input_ids": [[1]]},
        "floats": {"input_ids": [[0.5]]},
        "nothing": {},
        "list": [1],
    }
    for name, content in given.items():
        (root / f"{name}.json").write_text(json.dumps(content))
    np.savez(root / "objects.npz", input_ids=np.array([{}], object))
    (root / "torn.safetensors").write_bytes(b"\x00" * 20)
    save_file({"input_ids": torch.ones(2, 2, 2, dtype=torch.long)}, root / "deep.safetensors")
    return root


BERT, GPT2 = "demo:bert", "demo:gpt2"
MISTAKES = [
    # the source
    (["{d}/adapter"], "holds an adapter, not a model: merge it"),
    (["{d}/outer"], "has no config.json: did you mean {d}/outer/inner?"),
    (["{d}/llama.json"], "is a file: to build a model from a config alone, use --random --config {d}/llama.json"),
    (["{d}/broken"], "check its config.json"),
    (["{d}/unknown"], "knows no 'perceptron9' models"),
    (["{d}/remote"], "needs Python code that comes with it: read that code, and if you trust it add --trust-"),
    (["{d}/weightless"], "has a config but no weights: --random gives it random ones"),
    (["{d}/damaged"], "The weights of {d}/damaged cannot be loaded"),
    ([BERT, "--config", "{d}/llama.json", "--random"], "SOURCE and --config both name a model"),
    (["--config", "{d}/llama.json"], "add --random or --shapes-only"),
    (["--config", "{d}/no.json", "--random"], "There is no file {d}/no.json"),
    # the head
    ([BERT, "--task", "text-clasification"], "There is no task 'text-clasification': did you mean text-classification"),
    ([BERT, "--head", "MaskdLM"], "There is no head 'MaskdLM': did you mean MaskedLM"),
    ([GPT2, "--task", "fill-mask"], "(gpt2) has no head for fill-mask: it has "),
    ([GPT2, "--task", "ner", "--head", "CausalLM"], "--task and --head both name the head"),
    # the settings
    ([BERT, "--set", "hidden_layers=3"], "There is no `hidden_layers`: did you mean `num_hidden_layers`?"),
    ([BERT, "--set", "foo=1"], "no `foo` in the config of bert: there are num_hidden_layers, hidden_size, "),
    ([BERT, "--set", "num_hidden_layers=two"], "`num_hidden_layers` takes a whole number, not 'two'"),
    ([BERT, "--set", "num_hidden_layers=-1"], "`num_hidden_layers` cannot be negative"),
    ([BERT, "--random", "--set", "num_hidden_layers=1000000000"], "`num_hidden_layers` is 1000000000, more than any"),
    (["--config", "{d}/deep.json", "--random"], "`num_hidden_layers` is 1000000000, more than any memory holds"),
    ([BERT, "--set", "use_cache=3"], "`use_cache` takes true or false, not '3'"),
    ([BERT, "--set", "num_hidden_layers"], "--set takes key=value, such as num_hidden_layers=2"),
    ([BERT, "--set", "num_attention_heads=7"], "--set num_attention_heads=7 makes no model of demo:bert"),
    (["{d}/llama", "--set", "num_key_value_heads=3"], "leaves 2 heads of attention and 3 of keys and values"),
    (["{d}/llama", "--set", "rope_theta=3"], "There is no `rope_theta`: did you mean `rope_parameters.rope_theta`?"),
    ([BERT, "--set", "hidden_act=rlu"], "makes no model of demo:bert: there is no 'rlu' to choose: did you mean"),
    (["{d}/llava", "--set", "num_hidden_layers=1"], "did you mean `text_config.num_hidden_layers` or `vision_config."),
    (["{d}/llava", "--set", "text_confg.vocab_size=9"], "There is no `text_confg`: did you mean `text_config`?"),
    # where and how it runs
    ([BERT, "--device", "gpu"], "There is no device 'gpu': name cpu, cuda"),
    ([BERT, "--device", "xpu"], "This machine has no xpu that torch can use"),
    ([BERT, "--device", "meta"], "For --device meta use --shapes-only"),
    ([BERT, "--dtype", "int3"], "--dtype"),
    ([BERT, "--device-map", "silly"], "--device-map"),
    ([BERT, "--attn", "flash_attention_2"], "demo:bert cannot run with --attn flash_attention_2"),
    ([BERT, "--attn", "sdap"], "There is no attention 'sdap': choose eager, "),
    ([BERT, "--quantize", "quanto-int8"], "--quantize quanto-int8 needs the library optimum-quanto: 'pip install opt"),
    ([BERT, "--random", "--quantize", "bnb-8bit"], "leave out --random and --shapes-only"),
    # what it is given
    (["{d}/bare", "--text", "x"], "has no tokenizer that can be loaded, so --text cannot be used"),
    ([BERT, "--text", "good " * 2000], "The text has 2002 tokens, and demo:bert has positions for 64: shorten it"),
    ([BERT, "--image", "{d}/picture.png"], "(BertForSequenceClassification) takes no picture: give it --text"),
    ([BERT, "--audio", "{d}/sound.wav"], "takes no sound: give it --text"),
    (["{d}/vit", "--text", "x"], "takes no text: give it --image FILE"),
    (["{d}/vit", "--image", "{d}/none.png"], "There is no file {d}/none.png: check what --image names"),
    (["{d}/vit", "--image", "{d}/picture.txt"], "cannot be read as an image"),
    (["{d}/wav2vec2", "--audio", "{d}/silence.wav"], "cannot be read as a sound"),
    (["{d}/llava", "--text", "<image> <image>", "--image", "{d}/picture.png"], "cannot take these together"),
    ([GPT2, "--text", "hi", "--chat"], "has no chat template: leave --chat out"),
    (["{d}/refusing", "--text", "hi", "--chat"], "template refuses the text (Only a system may speak): leave --chat"),
    (["{d}/bare", "--chat"], "--chat needs something to say: add --text"),
    ([BERT, "--inputs", "{d}/flat.json"], "has the shape 3: it must be batch × tokens, such as [[1, 2, 3]]"),
    ([BERT, "--inputs", "{d}/deep.safetensors"], "has the shape 2×2×2: it must be batch × tokens"),
    ([BERT, "--inputs", "{d}/misnamed.json"], "has no argument 'input_idz', which {d}/misnamed.json names: did"),
    ([BERT, "--inputs", "{d}/huge.json"], "There is no token 99999: the vocabulary of demo:bert has "),
    ([BERT, "--inputs", "{d}/ragged.json"], "'input_ids' is no tensor"),
    ([BERT, "--inputs", "{d}/words.json"], "'input_ids' is no tensor"),
    ([BERT, "--inputs", "{d}/mask.json"], "attention_mask in {d}/mask.json is 1×2 and input_ids 1×3: make them alike"),
    (["demo:transformer", "--inputs", "{d}/batches.json"], "The batches in {d}/batches.json differ (input_ids 2, "),
    ([BERT, "--inputs", "{d}/floats.json"], "input_ids in {d}/floats.json are float32: write whole numbers"),
    ([BERT, "--inputs", "{d}/nothing.json"], "There are no tensors in {d}/nothing.json"),
    ([BERT, "--inputs", "{d}/list.json"], "list.json holds no object"),
    ([BERT, "--inputs", "{d}/objects.npz"], "The tensors in {d}/objects.npz cannot be read"),
    ([BERT, "--inputs", "{d}/torn.safetensors"], "The tensors in {d}/torn.safetensors cannot be read"),
    ([BERT, "--inputs", "{d}/picture.png"], "--inputs cannot read {d}/picture.png"),
    ([BERT, "--inputs", "{d}/none.npz"], "There is no file {d}/none.npz"),
    ([BERT, "--inputs", "{d}/flat.json", "--text", "x"], "--inputs is all that the model is given"),
    # generation
    ([BERT, "--generate", "3"], "demo:bert (BertForSequenceClassification) cannot generate"),
    ([GPT2, "--generate", "0"], "--generate takes a number of tokens from 1, not 0"),
    ([GPT2, "--generate", "9000"], "and 9000 are to follow, and demo:gpt2 has positions for "),
    ([GPT2, "--temperature", "0.5"], "--temperature says how to generate: add --generate N"),
    ([GPT2, "--generate", "3", "--top-p", "1.5"], "--top-p must be between 0 and 1, not 1.5"),
    ([GPT2, "--generate", "3", "--num-beams", "0"], "--num-beams must be at least 1, not 0"),
    ([GPT2, "--generate", "3", "--shapes-only"], "has no numbers to choose tokens by"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(
    arguments: list[str],
    sentence: str,
    disk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(["record", *(a.format(d=disk) for a in arguments)])
    out, err = capsys.readouterr()
    assert code == 2 and sentence.format(d=disk) in err, err
    assert err.startswith("tftrace: ") and err.count("\n") == 1 and "Traceback" not in err and out == ""
    assert len(err) < 500 and list(tmp_path.iterdir()) == []


def hub_error(kind: type[Exception], message: str) -> OSError:
    """What transformers raises where the hub said no, or was not there: its own error, caused by the hub's."""
    cause = kind.__new__(kind)
    Exception.__init__(cause, message)
    error = OSError("We could not load it.\nSee the page of the model.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("kind", "offline", "sentence"),
    [
        (hub.GatedRepoError, "0", "own/model is gated: ask for access on its page on the hub, then log in"),
        (hub.RepositoryNotFoundError, "0", "There is no model 'own/model' on the hub that you may read"),
        (hub.RevisionNotFoundError, "0", "own/model has no such --revision: name a branch, tag or commit"),
        (hub.LocalEntryNotFoundError, "0", "There is no model 'own/model' here, and the hub cannot be reached"),
        (hub.LocalEntryNotFoundError, "1", "the hub is not asked while HF_HUB_OFFLINE is set: unset it"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_sentence(
    kind: type[Exception], offline: str, sentence: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise hub_error(kind, "404 Client Error")

    monkeypatch.setattr(hf.AutoConfig, "from_pretrained", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    assert main(["record", "own/model", "--text", "x", "-o", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_library_that_is_missing_is_named(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> Any:
        raise ImportError(
            "\nLlamaTokenizer requires the SentencePiece library but it was not found in your environment."
        )

    monkeypatch.setattr(hf.AutoProcessor, "from_pretrained", refuse)
    monkeypatch.setattr(hf.AutoTokenizer, "from_pretrained", refuse)
    assert main(["record", "demo:bert", "-o", str(tmp_path / "run")]) == 2
    assert "demo:bert needs the library sentencepiece: 'pip install sentencepiece' adds it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "weights", "size"),
    [
        (["demo:bert"], "0.000", "MB"),
        (["--config", "{d}/70b.json", "--random"], "70.6 billion", "141 GB"),
        (["--config", "{d}/70b.json", "--random", "--dtype", "float32"], "70.6 billion", "282 GB"),
    ],
)
def test_memory_that_will_not_suffice_is_said_before_anything_is_loaded(
    options: list[str], weights: str, size: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    big: dict[str, Any] = {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
    }
    big |= {"num_key_value_heads": 8, "vocab_size": 128256, "model_type": "llama", "dtype": "bfloat16"}
    (tmp_path / "70b.json").write_text(json.dumps(big))
    monkeypatch.setattr(memory, "free_memory", lambda device: 23 << 30 if "billion" in weights else 1 << 20)
    assert main(["record", *(one.format(d=tmp_path) for one in options), "-o", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert weights in err and size in err and "--shapes-only reads it without weights" in err


def test_weights_are_counted_from_the_headers_of_their_files(tmp_path: Path) -> None:
    assert memory.count_weights(DEMO / "bert") == (
        hf.AutoModel.from_pretrained(DEMO / "bert").num_parameters() + 130,
        4.0,
    )
    save_file(
        {"a": torch.zeros(3, 5, dtype=torch.bfloat16), "b": torch.zeros(5, dtype=torch.float32)},
        tmp_path / "m.safetensors",
    )
    assert memory.count_weights(tmp_path) == (20, 50 / 20)
    (tmp_path / "torn.safetensors").write_bytes(b"\xff" * 30)
    assert memory.count_weights(tmp_path) == (None, None)
    assert memory.count_weights(tmp_path / "none") == (None, None)
