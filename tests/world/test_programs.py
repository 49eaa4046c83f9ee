"""Whole programs: training scripts, trainers of others, pytest, official examples where they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t

from .alone import equations, forwards, unchanged
from .made import VOCABULARY, bert, llama, saved, tokenizer
from .programs import outcome

pytestmark = pytest.mark.slow

# After nanoGPT's train.py and sample.py: batches out of one long text, a checkpoint, a loop of tokens.
GPT = """
import sys
import torch
from torch import nn
from torch.nn import functional as F

class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = heads

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))

class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))

class GPT(nn.Module):
    def __init__(self, vocab=16, block=32, width=32, heads=4, layers=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(block, width)
        self.h, self.ln_f = nn.ModuleList(Block(width, heads) for _ in range(layers)), nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.wte.weight = self.lm_head.weight
        self.block = block

    def forward(self, ids, targets=None):
        x = self.wte(ids) + self.wpe(torch.arange(ids.size(1)))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits[:, [-1]], None
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    @torch.no_grad()
    def generate(self, ids, n):
        for _ in range(n):
            logits, _ = self(ids[:, -self.block :])
            ids = torch.cat((ids, torch.multinomial(F.softmax(logits[:, -1] / 0.8, dim=-1), 1)), dim=1)
        return ids

torch.manual_seed(1337)
model = GPT()
if sys.argv[1] == "train":
    data = torch.arange(4000) * 7 % 16
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(12):
        at = torch.randint(len(data) - 33, (4,))
        x, y = (torch.stack([data[i + shift : i + shift + 32] for i in at]) for shift in (0, 1))
        loss = model(x, y)[1]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        print(step, loss.item())
    torch.save(model.state_dict(), "ckpt.pt")
else:
    model.load_state_dict(torch.load("ckpt.pt"))
    print(model.eval().generate(torch.zeros(1, 1, dtype=torch.long), 6).tolist())
"""


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_gpt_is_trained_and_sampled(tmp_path: Path) -> None:
    (tmp_path / "gpt.py").write_text(GPT)
    trace = outcome(tmp_path, "gpt.py", "train")
    assert forwards(trace) == ["GPT"] * 12 and {"multi-head-seen", "feed-forward-seen"} <= equations(trace)
    assert size(tmp_path / "run.tftrace") < 24 << 20  # by default a training script's trace stays small
    assert forwards(outcome(tmp_path, "gpt.py", "sample")) == ["GPT"] * 6


TESTED = """
import pytest, torch
from torch import nn

@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1))

@pytest.mark.parametrize("rows", [1, 2])
def test_shape(net, rows):
    assert net(torch.ones(rows, 4)).shape == (rows, 4)

def test_that_fails(net):
    total = float(net(torch.ones(1, 4)).sum())
    assert total > 2
"""


def test_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_net.py").write_text(TESTED)
    trace = outcome(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_net.py", code=1)
    assert forwards(trace) == ["Sequential"] * 3


def test_lightning() -> None:
    lightning: Any = pytest.importorskip("lightning")

    class Trains(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = llama()

        def training_step(self, batch: Any, at: int) -> Any:
            return self.net(input_ids=batch[0], labels=batch[0]).loss

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), 1e-3)

    def fit() -> Any:
        lightning.seed_everything(3, verbose=False)
        module = Trains()
        rows = torch.utils.data.TensorDataset(torch.randint(6, VOCABULARY, (8, 12)))
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
        trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=4))
        return list(module.parameters())

    assert forwards(unchanged(fit)) == ["Trains.net"] * 2


def test_the_sft_trainer_of_trl(tmp_path: Path) -> None:
    trl: Any = pytest.importorskip("trl")
    datasets: Any = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["this film is not good it is very boring"] * 8})

    def train() -> Any:
        model = llama()
        wanted = trl.SFTConfig(
            output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
            bf16=False, save_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        trl.SFTTrainer(model=model, args=wanted, train_dataset=rows, processing_class=tokenizer()).train()
        return list(model.parameters())

    trace = unchanged(train)
    again = {"recompute"}  # its checkpoints
    assert [name for name in forwards(trace) if name not in again] == ["LlamaForCausalLM"] * 2
    assert "llama-ffn" in equations(trace)


METRIC = """
import datasets
import evaluate

class Glue(evaluate.Metric):
    def _info(self):
        whole = datasets.Features(dict.fromkeys(["predictions", "references"], datasets.Value("int64")))
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=whole)

    def _compute(self, predictions, references):
        return {"accuracy": sum(p == r for p, r in zip(predictions, references)) / len(references)}
"""

FEATURES = """\
dataset_info:
- config_name: mrpc
  features:
  - {name: sentence1, dtype: string}
  - {name: sentence2, dtype: string}
  - {name: label, dtype: {class_label: {names: {"0": not_equivalent, "1": equivalent}}}}
  - {name: idx, dtype: int32}
"""


def examples(folder: Path) -> None:
    """The data and the model that official examples ask for by name, as folders of the same names."""
    splits = {"train": 16, "validation": 8, "test": 8}
    data = folder / "nyu-mll" / "glue"
    (data / "mrpc").mkdir(parents=True)
    listed = "".join(f"  - split: {split}\n    path: mrpc/{split}.jsonl\n" for split in splits)
    (data / "README.md").write_text(f"---\n{FEATURES}configs:\n- config_name: mrpc\n  data_files:\n{listed}---\n")
    for split, count in splits.items():
        pair = {"sentence1": "this film was not good", "sentence2": "the movie is very bad"}
        rows = [json.dumps({**pair, "label": at % 2, "idx": at}) for at in range(count)]
        (data / "mrpc" / f"{split}.jsonl").write_text("\n".join(rows))
    (folder / "glue").mkdir()
    (folder / "glue" / "glue.py").write_text(METRIC)
    saved(t.BertForSequenceClassification(bert()), folder / "bert-base-cased", tokenizer(encoder=True))
    saved(llama(), folder / "gpt", tokenizer())


SCRIPTS = {
    "nlp_example.py": "--cpu",  # of accelerate
    "run_glue.py": "--model_name_or_path bert-base-cased --task_name mrpc --do_train --do_eval --max_steps 2 "
    "--output_dir out --use_cpu --report_to none --disable_tqdm True --save_strategy no",
    "run_generation.py": "--model_type llama --model_name_or_path gpt --prompt film --length 4 --use_cpu",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_official_example(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unmodified, from the folder that EXAMPLES names: the scripts are not kept here."""
    for package in ("datasets", "evaluate", "accelerate"):
        pytest.importorskip(package)
    source = Path(os.environ.get("EXAMPLES", "examples")) / script
    if not source.is_file():
        pytest.skip(f"EXAMPLES names no folder with {script}")
    (tmp_path / script).write_text(source.read_text())
    examples(tmp_path)
    for name in ("HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    saves = "out/model.safetensors" if "--output_dir out" in SCRIPTS[script] else None
    trace = outcome(tmp_path, script, *SCRIPTS[script].split(), saves=saves)
    assert set(forwards(trace)) <= {"BertForSequenceClassification", "LlamaForCausalLM"}
