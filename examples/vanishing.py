"""Trains a small BERT for 50 steps with gradients recorded, and looks for a layer that does not learn.

    python examples/vanishing.py               # all layers learn
    python examples/vanishing.py 2             # layer 2 is broken first: its feed-forward part never fires

To record the gradients of your own, unchanged script: tftrace run --backward --level modules train.py
"""

import sys

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

import tftrace
from tftrace.demo import demo_folder

GOOD = ["good", "great", "lovely", "brilliant", "funny", "moving"]
BAD = ["bad", "awful", "boring", "terrible", "stupid", "dull"]
SENTENCES = ["the film was {}", "what a {} story", "i found it {}", "this is a {} play"]


def main() -> None:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(demo_folder("bert"))
    small = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    model = BertForSequenceClassification(BertConfig(**small, vocab_size=len(tokenizer), num_labels=2))
    if len(sys.argv) > 1:
        broken = model.bert.encoder.layer[int(sys.argv[1])].intermediate.dense
        torch.nn.init.constant_(broken.bias, -8.0)  # GELU is next to flat there, and so is its slope
    data = [(s.format(word), label) for label, side in enumerate((BAD, GOOD)) for word in side for s in SENTENCES]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with tftrace.record(model, "vanishing.tftrace", level="modules", backward=True, overwrite=True) as trace:
        for step in range(50):
            texts, labels = zip(*(data[at] for at in torch.randint(len(data), (8,))), strict=True)
            loss = model(**tokenizer(list(texts), padding=True, return_tensors="pt"), labels=torch.tensor(labels)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 10 == 9:
                print(f"step {step + 1}: loss {loss.item():.4f}")

    # The one query: how long the gradients of each weight are, beside the longest there are.
    rows = trace.to_pandas().query("role == 'gradient' and tensor_name == 'weight' and name.str.contains('layer')")
    length = rows.groupby("name")["l2"].mean().sort_values() / rows["l2"].mean()
    print(length.head(4).to_string(header=False, float_format="{:.1e}".format))


if __name__ == "__main__":
    main()
