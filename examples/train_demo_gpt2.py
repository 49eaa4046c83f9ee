"""Train the `gpt2` demo: a decoder that writes tiny stories and stays with the names it began with.

The stories come from the grammar in `demo_stories.py`. Their names are two tokens long and combined freely,
so to write one again the model has to look back at it: the induction heads that this needs can be seen.
"""

import random
import re
from typing import Any

import torch
from demo_stories import ALL_NAMES, ENDS, STARTS, faults, story
from demo_training import Batch, Run, fit, is_held_out, options, padded, save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END = "<|endoftext|>"
PROMPT = "Once upon a time"
LENGTH = 128


def make_tokenizer(stories: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE. Its merges are learned from a list of words, with the syllables of names at the head of it.

    So the syllables are merged first, and every name stays in two tokens while other words become one.
    """
    words = sorted({word for text in stories for word in re.findall(r" ?[A-Za-z]+| ?[^A-Za-z ]+", text)})
    names = [f" {name}" for name in ALL_NAMES]
    syllables = [f" {start}" for start in STARTS] + [end for ends in ENDS.values() for end in ends]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        syllables * 1000 + [word for word in words if word not in names],
        trainers.BpeTrainer(
            vocab_size=1000,
            special_tokens=[END],
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        unk_token=END,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=LENGTH,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    end = tokenizer.eos_token_id
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=LENGTH,
            n_embd=64,
            n_layer=3,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=0.1,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    )
    model.generation_config.max_length = LENGTH
    model.generation_config.do_sample = False
    return model


@torch.no_grad()
def prediction(model: GPT2LMHeadModel, rows: list[list[int]]) -> tuple[float, float]:
    """Perplexity and next-token accuracy."""
    loss = right = total = 0.0
    for row in rows:
        tokens = torch.tensor([row])
        output = model(tokens, labels=tokens)
        loss += output.loss.item() * (len(row) - 1)
        right += (output.logits[0, :-1].argmax(-1) == tokens[0, 1:]).sum().item()
        total += len(row) - 1
    return float(torch.tensor(loss / total).exp()), right / total


def mentions(pieces: list[str]) -> list[tuple[int, list[int]]]:
    """Where the first half of a known name stands, and where the second halves of its earlier mentions are."""
    found: list[tuple[int, list[int]]] = []
    earlier: dict[str, list[int]] = {}
    for row in range(len(pieces) - 1):
        name = (pieces[row] + pieces[row + 1]).lstrip("Ġ")
        if name in ALL_NAMES:
            if name in earlier:
                found.append((row, list(earlier[name])))
            earlier.setdefault(name, []).append(row + 1)
    return found


@torch.no_grad()
def look_back(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> tuple[torch.Tensor, float]:
    """What makes a name be written again, by layer and head, and how often it is.

    The shares of attention from the first half of a known name to the second halves of its earlier mentions,
    which is just what has to be written next; and how often the most likely next token is the right second half.
    """
    model.set_attn_implementation("eager")
    shares, right = [], []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt")
        output = model(**inputs, output_attentions=True)
        maps, tokens = torch.cat(output.attentions), inputs.input_ids[0]
        for row, earlier in mentions(tokenizer.tokenize(text)):
            shares.append(maps[:, :, row, earlier].sum(-1))
            right.append(bool(output.logits[0, row].argmax() == tokens[row + 1]))
    return torch.stack(shares).mean(0), sum(right) / len(right)


@torch.no_grad()
def write(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, prompts: list[str], **how: Any) -> list[str]:
    inputs = tokenizer(prompts, return_tensors="pt")
    written: list[str] = tokenizer.batch_decode(model.generate(**inputs, **how), skip_special_tokens=True)
    return written


CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---
# Tiny stories: a demo decoder

A `GPT2LMHeadModel` with {parameters:,} parameters (3 layers, 4 heads, width 64, {tokens} tokens) that writes
stories of some eight sentences. The prompt "Once upon a time", continued greedily:

> {sample}

**Data.** Stories from the grammar in `examples/demo_stories.py`; nothing else was used. Held out: stories that are
not among the training stories, and, separately, stories with names that no training story has (a tenth of the
{names} names, chosen by the CRC-32 of the name).

**Held-out figures.** On {count} new stories with known names: perplexity {perplexity:.3f}, next-token accuracy
{accuracy:.2%}. On {count} stories with unseen names: perplexity {unseen_perplexity:.3f}, next-token accuracy
{unseen_accuracy:.2%}; the second half of an unseen name that was mentioned before is right in {copied:.2%} of the
cases. (The choices that the grammar leaves open cannot be foretold, so no figure could be perfect.)
Of {count} stories sampled from the prompt (temperature 1, no truncation), the checker of `demo_stories.py`
accepts {accepted:.1%}: each name introduced, pronouns that fit, one colour, toy, place and animal throughout, an
end. Trained for {run}.

**What attention shows.** Names are two tokens long. When the first half of a known name has been written, head
{head} of layer {layer} (counted from 0) puts {share:.0%} of its weight on the second halves of its earlier
mentions (measured on stories with unseen names): an induction head.

**Limits.** A model to look at, not to work with: it knows these stories only.
"""


def report(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, run: Run, new: list[str], unseen: list[str]
) -> str:
    """Measure on held-out stories and write the model card."""
    shares, copied = look_back(model, tokenizer, unseen[:100])
    print("from the first half of a name to the second half of earlier mentions, layer by head:\n", shares)
    layer, head = divmod(int(shares.argmax()), shares.shape[1])
    perplexity, accuracy = prediction(model, tokenizer([text + END for text in new]).input_ids)
    unseen_perplexity, unseen_accuracy = prediction(model, tokenizer([text + END for text in unseen]).input_ids)
    written = write(model, tokenizer, [PROMPT] * len(new), do_sample=True, top_k=0)
    for text in written[:2] + [text for text in written if faults(text)][:6]:
        print(faults(text), text)
    return CARD.format(
        parameters=model.num_parameters(),
        tokens=len(tokenizer),
        names=len(ALL_NAMES),
        sample=write(model, tokenizer, [PROMPT])[0],
        count=len(new),
        perplexity=perplexity,
        accuracy=accuracy,
        unseen_perplexity=unseen_perplexity,
        unseen_accuracy=unseen_accuracy,
        copied=copied,
        accepted=sum(not faults(text) for text in written) / len(written),
        run=run,
        layer=layer,
        head=head,
        share=shares.max().item(),
    )


def main() -> None:
    chosen = options("gpt2", __doc__.splitlines()[0], steps=3700)
    chance = random.Random(chosen.seed)
    known = [name for name in ALL_NAMES if not is_held_out(name, percent=10)]
    others = [name for name in ALL_NAMES if is_held_out(name, percent=10)]
    train = [story(chance, known) for _ in range(chosen.examples)]
    count = min(400, chosen.examples)
    seen = set(train)
    new = [text for text in (story(chance, known) for _ in range(2 * count)) if text not in seen][:count]
    unseen = [story(chance, others) for _ in range(count)]
    tokenizer = make_tokenizer(train)
    model = make_model(tokenizer)
    rows = tokenizer([text + END for text in train]).input_ids

    def batch() -> Batch:
        chosen_rows = random.choices(rows, k=24)
        inputs, labels = padded(chosen_rows, tokenizer.pad_token_id), padded(chosen_rows, -100)
        return {"input_ids": inputs, "attention_mask": (labels != -100).long(), "labels": labels}

    run = fit(model, batch, chosen, rate=3e-3)
    save(model, tokenizer, chosen.out, report(model, tokenizer, run, new, unseen))


if __name__ == "__main__":
    main()
