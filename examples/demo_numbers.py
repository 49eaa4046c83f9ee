"""Dates and numbers in figures, the English words for them, and which figures each word is spelled from.

Every example says which source positions a word comes from, so that what cross-attention looks at can be scored.
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta

from demo_training import is_held_out

# ruff: noqa: SIM905 (a list of words reads best as a line of words)
UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
MONTHS = ("january february march april may june july august september october november december").split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
).split()
FIRST_DAY, DAYS = date(1100, 1, 1), (date(2100, 1, 1) - date(1100, 1, 1)).days


@dataclass
class Example:
    """A source, its words, and the source positions that each word is spelled from (none: a filler word)."""

    source: str
    words: list[str]
    origins: list[set[int]]
    key: str

    @property
    def target(self) -> str:
        return " ".join(self.words)


def below_hundred(number: int) -> list[str]:
    if number < 20:
        return [UNITS[number]]
    return [TENS[number // 10 - 2]] + ([UNITS[number % 10]] if number % 10 else [])


def spelled(number: int) -> list[str]:
    """A number below a thousand million in words, without "and" and without hyphens."""
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            return spelled(number // size) + [name] + (spelled(number % size) if number % size else [])
    return below_hundred(number)


def ordinal(day: int) -> list[str]:
    if day < 20:
        return [ORDINALS[day - 1]]
    if day % 10:
        return [TENS[day // 10 - 2], ORDINALS[day % 10 - 1]]
    return ["twentieth" if day == 20 else "thirtieth"]


def year_words(year: int) -> list[str]:
    """As years are read aloud: nineteen eighty four, nineteen hundred, but two thousand twenty six."""
    if year >= 2000:
        return spelled(year)
    century, rest = divmod(year, 100)
    return below_hundred(century) + (["hundred"] if rest < 10 else []) + (below_hundred(rest) if rest else [])


def date_example(day: date) -> Example:
    spoken_day, spoken_year = ordinal(day.day), year_words(day.year)
    words = ["the", *spoken_day, "of", MONTHS[day.month - 1], *spoken_year]
    origins = [set(), *[{8, 9}] * len(spoken_day), set(), {5, 6}, *[{0, 1, 2, 3}] * len(spoken_year)]
    return Example(day.isoformat(), words, origins, day.isoformat())


def number_example(number: int, commas: bool) -> Example:
    words = spelled(number)
    return Example(f"{number:,}" if commas else str(number), words, [set() for _ in words], str(number))


def draw(chance: random.Random) -> Example:
    """A date or a number; short numbers are as likely as long ones, and round ones have their share."""
    if chance.random() < 0.5:
        return date_example(FIRST_DAY + timedelta(days=chance.randrange(DAYS)))
    commas, zeros = chance.random() < 0.5, chance.choice([0, 0, 0.4, 0.8])
    figures = [chance.randrange(10) for _ in range(chance.randint(1, 9 if commas else 6))]
    figures[1:] = [0 if chance.random() < zeros else figure for figure in figures[1:]]
    return number_example(int("".join(map(str, figures))), commas)


def corpus(count: int, held_out: bool, seed: int) -> list[Example]:
    """Examples of one side of the split. Numbers below a thousand are all for training: there are too few."""
    chance = random.Random(seed)
    examples: list[Example] = []
    while len(examples) < count:
        example = draw(chance)
        if (len(example.key) > 3 and is_held_out(example.key)) == held_out:
            examples.append(example)
    return examples
