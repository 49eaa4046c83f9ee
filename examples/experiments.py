"""Experiments on the demo BERT for a reader of "Attention Is All You Need": fewer layers, other heads, ReLU for GELU.

Each changes one setting of the trained model, and its run is compared with that of the unchanged model.

    python examples/experiments.py
    tftrace view base.tftrace          # or one_layer_fewer.tftrace, …; `tftrace record --set` does the same by hand

The first line that differs is where the change takes effect; how much the answer changes shows how much it matters.
"""

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, logging

import tftrace
from tftrace.demo import demo_folder

FOLDER = demo_folder("bert")  # or a hub id, with a network
SENTENCE = "This is not a good film."


def run(name: str, **settings: object) -> tuple[float, tftrace.Trace]:
    """The probability that the sentence is positive, and the trace."""
    config = AutoConfig.from_pretrained(FOLDER)
    config.update(settings)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER, config=config).eval()
    with torch.no_grad(), tftrace.record(model, f"{name}.tftrace", overwrite=True) as trace:
        logits = model(**tokenizer(SENTENCE, return_tensors="pt")).logits
    return logits.softmax(-1)[0, 1].item(), trace


def parts_from(base: tftrace.Trace, trace: tftrace.Trace) -> str:
    """The innermost module whose result is the first to differ."""
    known = {step.name: step.tensors[-1] for step in base if step.kind == "module"}
    modules = [step for step in trace if step.kind == "module"]
    for step in sorted(modules, key=lambda one: (trace.ends[one.position], -one.depth)):  # as they ended
        before, now = known.get(step.name), step.tensors[-1]
        if before is None or (before.mean, before.std) != (now.mean, now.std):
            return step.name
    return "nowhere"


def main() -> None:
    logging.set_verbosity_error()
    probability, base = run("base")
    print(f"{'as trained':16} {probability:.4f}")
    layers, heads = (base.meta["config"][key] for key in ("num_hidden_layers", "num_attention_heads"))
    experiments = {
        "one layer fewer": {"num_hidden_layers": layers - 1},
        "half the heads": {"num_attention_heads": heads // 2},
        "relu for gelu": {"hidden_act": "relu"},
    }
    for name, settings in experiments.items():
        probability, trace = run(name.replace(" ", "_"), **settings)
        print(f"{name:16} {probability:.4f}  from {parts_from(base, trace)} on")


if __name__ == "__main__":
    main()
