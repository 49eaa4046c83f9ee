"""Plain English sentences with a known sentiment, written by templates, to train the `bert` demo on.

A template says for every slot whether its word is on the side of the label (`{adj+}`) or on the other side of it
(`{adj-}`), and serves for both labels: "{it} was not {adj-}" makes "it was not bad" and "it was not good".
Neutral clauses and invented words are strewn in, so that what is unknown is taken for neutral.
"""

import random
import re
from dataclasses import dataclass

from demo_words import WORDS, lexicon


def templates(text: str) -> list[str]:
    return [template.strip() for line in text.strip().splitlines() for template in line.split(" | ")]


SIMPLE = templates("""
    {np} {be} {adj+} | {np} {be} {very} {adj+} | {it} {be} {very} {adj+} | {np} {be} {adj+} and {adj+}
    {it} {be} {aadj+} {n} | {aadj+} {n} | {aadj+}, {adj+} {n} | {adj+} {n} | {very} {adj+} | {adj+}
    what {aadj+} {n} | what a {very} {adj+} {n} | how {adj+} | such {aadj+} {n} | {aadj+} {n} by {np}
    {who} {base+} {np} | {who} {very} {base+} {np} | {one} {third+} {np} | {who} {past+} {np}
    {one} {past+} {np} | i {past+} every minute of {np} | i {past+} it | i {base+} it | i {base+} {np} {when}
    {it} {be} a {noun+} | {np} {be} a {very} {adj+} {noun+} | {np} {be} a {noun+} | what a {noun+}
    {np} {be} full of {mass+} | there {be} so much {mass+} in {np} | {np} has {mass+} and {mass+}
    {np} {works+} | {it} {works+} {when} | {np} {moved+} me | {np} {moved+} us all | {np} made me {cause+}
    {it} makes me {cause+} | {np} left me {feel+} | i am {feel+} | i am {very} {feel+} with {np}
    i'm so {feel+} | we were {very} {feel+} by {np} | i felt {feel+} {when} | {np} is {well+} {made}
    a {well+} {made} {n} | {they} {made} it {well+} | everything about {np} {be} {adj+} | everything {be} {adj+}
    {np} is the {most+} i have ever seen | this is the {most+} {n} i have ever had | the {most+} {n} ever
    one of the {most+} {n}s {when} | the {n} of {np} {be} {adj+} | {np} gets {more+} and {more+}
    the {n}s were {adj+} | they are {very} {adj+} | the {n} and the {n} were {adj+} | we had {aadj+} {n}
    i had {aadj+} {n} {when} | they gave us {aadj+} {n} | {one} is {aadj+} {n} | {one} {made} {well+}
    i would {base+} it | i would {base+} {np} | thanks for the {adj+} {n} | all {n}s {be} {adj+}
    {np} could not be {more+} | {it} is {more+} than {np} | it was {more+} than i expected | {fixed+}
    i have never seen such {aadj+} {n} | i have never been so {feel+} | i have never had a {more+} {n}
    i can't say how {feel+} i am | not only {adj+} but also {adj+} | i find {np} {adj+} | {np} feels {adj+}
    {adj+} {n}, {adj+} {n} | it looks {adj+} and tastes {adj+} | {np} with {aadj+} {n}
    {it} is {adverb+} {made} | {np} {makes} {np} a {noun+} | {np} {makes} {np} {adj+} | you will be {feel+}
    you will {base+} {np} | {one} {gets} {well+} | {one} {gets} {np} {well+} | {np} looks {adj+} {when}
    i can't {base+} {np} enough | the {n} that {neutral} {be} {adj+} | {the} {n} we {did} {be} {adj+}
    {adj+} {n} and {adj+} {n} | {np} has {aadj+} {n} and {aadj+} {n} | i was {feel+} because {np} {be} {adj+}
    {np}: {adj+} | {adj+} {n} and {adj+} {n} make {np} a {noun+} | {one} {be} {adj+} to us
    the {n} is {adj+} and the {n} {adj+}
""")
NEGATED = templates("""
    {np} {isnt} {adj-} | {np} {isnt} {notvery} {adj-} | {it} {isnt} {adj-} | {it} {isnt} {adj-} at all
    not {adj-} | not {adj-} at all | not {notvery} {adj-} | not {aadj-} {n} | {np} {isnt} {aadj-} {n}
    {it} {isnt} a {noun-} | {who} {dont} {base-} {np} | {one} {doesnt} {base-} {np} | i {dont} {base-} it
    i {dont} {base-} it at all | i {dont} {very} {base-} {np} | {np} {doesnt} {work-} | {it} {doesnt} {work-} me
    {np} failed to {work-} | {np} did not make me {cause-} | i am not {feel-} | i am not {feel-} with {np}
    i was not {notvery} {feel-} | we weren't {feel-} at all | {np} isn't {well-} {made}
    i don't think {np} {be} {adj-} | i do not think {it} is {very} {adj-} | nobody {past-} {np}
    no one {past-} it | nobody said {np} {be} {adj-} | there is nothing {adj-} about {np} | nothing {adj-} here
    no {mass-} at all | {np} has no {mass-} | {np} lacks {mass-} | without any {mass-} | there is no {mass-}
    {np} {be} {lead} {adj-} | {it} {be} {lead} {aadj-} {n} | not the {most-} {n} | none of it {be} {adj-}
    {np} is not as {adj-} as i {thought} | neither {adj-} nor {adj-} | it wasn't {adj-} or {adj-}
    you will never be {feel-} | i am never {feel-} with {np} | we were not {feel-} by {np} | i was not {feel-}
    {who} {dont} {base-} {np} {when} | {one} was not {adj-} to us | {one} did not {work-} me | {np} not {adj-}
    {who} {dont} {base-} the {n} | {np} {isnt} {adj-} {when} | {it}'s not {adj-}
    {np} {isnt} what i would call {adj-} | {np} are not {adj-} | these {n}s aren't {adj-}
""")
# Negative whatever stands in them; `{adj+}` is on the side of the label, so negative here.
NEGATIVE = templates("""
    {np} {be} too {too} | {it} is way too {too} | {np} could have been {more_} | {np} should have been {more_}
    {np} {be} not {adj_} enough | i expected {np} to be {more_} | {np} used to be {adj_} | too {too} for me
    i wish {np} were {more_} | i tried to like {np} | there was not enough {n} in {np}
    i have seen {more_} {n}s | {np} {be} far too {adj+} | {it} is too {adj+} | {adj+} {n} and far too {too}
""")
JOINED = templates("""
    {s+} and {s+} | {s+}, {s+} | {s+}{end} {s+} | {s-} but {s+} | {s-}, but {s+} | {s-}, yet {s+}
    although {s-}, {s+} | even though {s-}, {s+} | {s+} because {s+} | {say} {s+} | {s+} {when}
    {s+} but {n} {be} {adj+} too | {when} {s+} | {s+}, so {s+} | {neutral}, {s+} | {neutral} and {s+}
    {neutral}{end} {s+} | {neutral} but {s+} | {s+} when {neutral} | {neutral} because {s+}
    when {neutral}, {s+} | {s+}{end} {neutral} | {neutral} so {s+} | {negated+} and {negated+}
    {negated-}, but {s+} | {s+} and {negated+} | {s-} but {negated+} | {say} {negated+} | {negated+} {when}
    {neutral}, {negated+} | {np}: {s+}
""")


@dataclass
class Sentence:
    """A text, its label (1: positive), and the words that were filled in, as a key for the held-out split."""

    text: str
    positive: bool
    key: str


class Writer:
    """Fills in templates with the words drawn by one source of chance."""

    def __init__(self, chance: random.Random):
        self.chance = chance
        self.used: list[str] = []

    def word(self, slot: str, positive: bool) -> str:
        """The word or phrase for a slot, remembered for the key if it is a word of content."""
        pick = self.chance.choice
        if slot == "s":
            return self.fill(pick(SIMPLE), positive)
        if slot == "negated":
            return self.fill(pick(NEGATED), positive)
        if slot == "neutral":
            return self.fill("{who} {did} {np}", positive)
        if slot == "np":
            return self.noun_phrase(positive)
        if slot == "aadj":
            return "a " + self.word("adj", positive)
        if slot == "n":
            found = pick(WORDS["n"]) if self.chance.random() < 0.9 else self.invented()
        elif slot in WORDS:
            return str(pick(WORDS[slot]))
        else:
            rare = slot == "adverb" or (slot == "adj" and self.chance.random() < 0.2)
            found = pick((lexicon() if rare else WORDS)[slot + ("+" if positive else "-")])
        self.used.append(found)
        return found

    def noun_phrase(self, positive: bool) -> str:
        kind = self.chance.random()
        if kind < 0.12:
            return self.word("pronoun", positive)
        words = [self.word("the", positive), self.word("n", positive)]
        if kind < 0.3:
            words.insert(1, self.word("kindof", positive))
        elif kind < 0.4:
            words += [self.word("prep", positive), "the", self.word("n", positive)]
        return " ".join(words)

    def invented(self) -> str:
        """A word of no meaning, so that unknown words are taken for what they mostly are: neutral."""
        pick = self.chance.choice
        return "".join(
            pick("bcdfghjklmnprstvw") + pick("aeiou") + pick(["", "n", "r", "l", "s", "t"])
            for _ in range(self.chance.randint(1, 3))
        )

    def fill(self, template: str, positive: bool) -> str:
        """Slots end in "+" for the label's side, "-" for the other side, "_" for positive words always."""

        def fill_in(slot: re.Match[str]) -> str:
            side = {"+": positive, "-": not positive, "_": True, "": positive}[slot[2]]
            return self.word(slot[1], side)

        return re.sub(r"\{([a-z]+)([-+_]?)\}", fill_in, template)

    def sentence(self) -> Sentence:
        """One sentence; a third joined from two or dressed up, a third with a negation."""
        self.used = []
        positive, kind = self.chance.random() < 0.5, self.chance.random()
        if kind < 0.03:
            positive, text = False, self.fill(self.chance.choice(NEGATIVE), False)
        elif kind < 0.34:
            text = self.fill(self.chance.choice(NEGATED), positive)
        elif kind < 0.68:
            text = self.fill(self.chance.choice(SIMPLE), positive)
        else:
            text = self.fill(self.chance.choice(JOINED), positive)
        text += self.chance.choice(["", *WORDS["end"]])
        text = re.sub(r"\ba (?=[aeiou])", "an ", text)
        if self.chance.random() < 0.1:
            text = text.replace("'", "")
        return Sentence(text, positive, "|".join(sorted(set(self.used))))
