"""The Trainer of transformers fine-tunes a small BERT; the script does not know that it is recorded.

    tftrace run --backward --level modules --every 5 examples/trainer.py
    tftrace run --when "loss > 0.7" examples/trainer.py        # only forward passes that went badly

The Trainer needs accelerate: pip install 'tftrace[examples]'.
"""

import tempfile

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

from tftrace.demo import demo_folder

GOOD = ["good", "great", "lovely", "brilliant"]
BAD = ["bad", "awful", "boring", "terrible"]
STEPS = 12


def main() -> None:
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(demo_folder("bert"))
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    model = BertForSequenceClassification(BertConfig(**small, vocab_size=len(tokenizer), num_labels=2))
    words = [(word, label) for label, side in enumerate((BAD, GOOD)) for word in side]
    data = [
        {**tokenizer(f"The film was {word}.", padding="max_length", max_length=10), "labels": y} for word, y in words
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, max_steps=STEPS, per_device_train_batch_size=4, learning_rate=1e-3, logging_steps=4,
            report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no",
        )  # fmt: skip
        result = Trainer(model, settings, train_dataset=data).train()
    print(f"loss {result.training_loss:.6f} after {result.global_step} steps")
    print(f"norm of the weights {torch.cat([p.detach().flatten() for p in model.parameters()]).norm():.6f}")


if __name__ == "__main__":
    main()
