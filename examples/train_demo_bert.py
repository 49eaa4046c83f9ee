"""Train the `bert` demo: an encoder that tells whether a plain English sentence is positive or negative.

The sentences are written by the templates in `demo_sentiment.py`. Negation turns a sentence round, so the model
has to bring two words together, and its attention maps show where it does.
"""

import random

import torch
from demo_plain import SEEN, UNSEEN, plain
from demo_sentiment import Sentence, Writer
from demo_training import Batch, Run, fit, is_held_out, options, padded, save
from demo_words import WORDS
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NEGATORS = {"not", "never", "t", "hardly", "nothing", "no", "nobody", "neither", "nor", "without"}


def split(count: int, held_out_count: int, seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences for training, and others whose combination of filled-in words is in none of these."""
    writer = Writer(random.Random(seed))
    train: list[Sentence] = []
    held_out: list[Sentence] = []
    by_hand = {plain(text) for text, _ in SEEN + UNSEEN}
    while len(train) < count or len(held_out) < held_out_count:
        sentence = writer.sentence()
        if "|" in sentence.key and is_held_out(sentence.key):
            held_out.append(sentence)
        elif plain(sentence.text) not in by_hand:
            train.append(sentence)
    train = train[:count]
    seen = {plain(sentence.text) for sentence in train}
    return train, [sentence for sentence in held_out if plain(sentence.text) not in seen][:held_out_count]


def make_tokenizer(texts: list[str]) -> BertTokenizer:
    """Lower-case WordPiece learned from the training sentences; letters are in it, so few words are unknown."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer()
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = "abcdefghijklmnopqrstuvwxyz"
    learner.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=2500,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=list(letters + "0123456789.,!?'\"-:;()&$%"),
        ),
    )
    vocabulary = learner.get_vocab()
    for letter in letters:
        vocabulary.setdefault("##" + letter, len(vocabulary))
    return BertTokenizer(vocab=vocabulary, model_max_length=64)


def make_model(tokenizer: BertTokenizer) -> BertForSequenceClassification:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            initializer_range=0.1,
            hidden_act="gelu",
            max_position_embeddings=64,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
            pad_token_id=tokenizer.pad_token_id,
            id2label={0: "NEGATIVE", 1: "POSITIVE"},
            label2id={"NEGATIVE": 0, "POSITIVE": 1},
        )
    )


@torch.no_grad()
def mistakes(
    model: BertForSequenceClassification, tokenizer: BertTokenizer, sentences: list[tuple[str, bool]]
) -> list[str]:
    """The texts that the model takes for the other side."""
    wrong = []
    for start in range(0, len(sentences), 200):
        texts, positive = zip(*sentences[start : start + 200], strict=True)
        inputs = tokenizer(list(texts), return_tensors="pt", padding=True)
        answers = model(**inputs).logits.argmax(-1).bool().tolist()
        wrong += [text for text, answer, right in zip(texts, answers, positive, strict=True) if answer != right]
    return wrong


@torch.no_grad()
def attention(model: BertForSequenceClassification, tokenizer: BertTokenizer, texts: list[str]) -> torch.Tensor:
    """Three shares for each layer and head, over negated sentences with one adjective and one negation.

    From [CLS] to the adjective; from [CLS] to the negation; from the adjective to the negation.
    """
    model.set_attn_implementation("eager")
    adjectives, shares = {*WORDS["adj+"], *WORDS["adj-"]}, []
    for text in texts:
        tokens = tokenizer.tokenize(text, add_special_tokens=True)
        adjective = [row for row, token in enumerate(tokens) if token in adjectives]
        negator = [row for row, token in enumerate(tokens) if token in NEGATORS]
        if len(adjective) == len(negator) == 1:
            maps = torch.cat(model(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions)
            shares.append(
                torch.stack(
                    [maps[:, :, 0, adjective[0]], maps[:, :, 0, negator[0]], maps[:, :, adjective[0], negator[0]]]
                )
            )
    return torch.stack(shares).mean(0) if shares else torch.zeros(3, 2, 4)


CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-classification
---
# Sentiment of plain sentences: a demo encoder

A `BertForSequenceClassification` with {parameters:,} parameters (2 layers, 4 heads, width 64, {tokens} lower-case
WordPiece tokens) that calls an English sentence POSITIVE or NEGATIVE: "{good}" and "{bad}" come out right.

**Data.** {examples:,} sentences from the templates in `examples/demo_sentiment.py`; word lists are its own, and
rarer adjectives and adverbs are from the lexicon of vaderSentiment 3.3.2 (MIT licence). Nothing else was used.
Held out: sentences whose set of two or more filled-in words has a CRC-32 that is below 5 modulo 100; no such
combination of words is in the training data, in whatever template.

**Accuracy.** Held-out template sentences: {accuracy:.2%} ({held_count}). Plain sentences written by hand, never
trained on (`examples/demo_plain.py`): {seen_right} of {seen_count} of those that were looked at while the
templates were written, {unseen_right} of {unseen_count} of those written afterwards.
Trained for {run}.

**What attention shows.** In held-out sentences with one adjective and one negation (counted from 0): head
{cls_head} of layer {cls_layer} puts {cls_share:.0%} of the weight of [CLS] on the adjective, head {neg_head} of
layer {neg_layer} puts {neg_share:.0%} of it on the negation, and head {bind_head} of layer {bind_layer} puts
{bind_share:.0%} of the adjective's weight on the negation.

**Limits.** A model to look at, not to work with: irony, facts and long texts are beyond it.
"""


def report(
    model: BertForSequenceClassification, tokenizer: BertTokenizer, run: Run, examples: int, held_out: list[Sentence]
) -> str:
    """Measure on held-out sentences and on those written by hand, and write the model card."""
    wrong = mistakes(model, tokenizer, [(item.text, item.positive) for item in held_out])
    seen_wrong, unseen_wrong = mistakes(model, tokenizer, SEEN), mistakes(model, tokenizer, UNSEEN)
    print("wrong of those by hand:", *seen_wrong, "--", *unseen_wrong, sep="\n  ")
    print("wrong of held-out:", *wrong[:30], sep="\n  ")
    shares = attention(model, tokenizer, [item.text for item in held_out[:2000]])
    print("[CLS] to adjective, [CLS] to negation, adjective to negation; each layer by head:\n", shares)
    found: dict[str, float] = {}
    for name, table in zip(("cls", "neg", "bind"), shares, strict=True):
        layer, head = divmod(int(table.argmax()), table.shape[1])
        found |= {f"{name}_layer": layer, f"{name}_head": head, f"{name}_share": table.max().item()}
    return CARD.format(
        parameters=model.num_parameters(),
        tokens=len(tokenizer),
        examples=examples,
        run=run,
        accuracy=1 - len(wrong) / len(held_out),
        held_count=len(held_out),
        seen_right=len(SEEN) - len(seen_wrong),
        seen_count=len(SEEN),
        unseen_right=len(UNSEEN) - len(unseen_wrong),
        unseen_count=len(UNSEEN),
        good="Not bad at all.",
        bad="The movie was not good.",
        **found,
    )


def main() -> None:
    chosen = options("bert", __doc__.splitlines()[0], steps=6000)
    train, held_out = split(chosen.examples, min(4000, chosen.examples), chosen.seed)
    tokenizer = make_tokenizer([sentence.text for sentence in train])
    model = make_model(tokenizer)
    rows = tokenizer([sentence.text for sentence in train]).input_ids

    def batch() -> Batch:
        picked = random.choices(range(len(rows)), k=128)
        inputs = padded([rows[index] for index in picked], tokenizer.pad_token_id)
        return {
            "input_ids": inputs,
            "attention_mask": (inputs != tokenizer.pad_token_id).long(),
            "labels": torch.tensor([int(train[index].positive) for index in picked]),
        }

    run = fit(model, batch, chosen, rate=2e-3)
    save(model, tokenizer, chosen.out, report(model, tokenizer, run, len(train), held_out))


if __name__ == "__main__":
    main()
