"""A grammar of tiny stories, and a checker that says whether a story keeps to what it introduced.

Names are put together from two syllables and come in two hundred and more combinations, and every story has
its own colour, toy, place, home, animal and food. A language model can therefore only go on well by looking
back, which is what makes its attention worth looking at.
"""

import random
import re

# ruff: noqa: SIM905 (a list of words reads best as a line of words)
STARTS = "Ma Mi Li Lo Ta To Be Ro Na Ne Ka El An Sa Su Da".split()
ENDS = {"girl": "ra la na mi ly sa vi da".split(), "boy": "ro bo do mo ko lo vo to".split()}
PRONOUNS = {"girl": ("she", "her", "her"), "boy": ("he", "him", "his")}
CATEGORIES = {
    "colour": "red blue green yellow white black golden silver pink purple".split(),
    "toy": "kite ball boat drum doll lamp book hat bell box cart scarf ring key".split(),
    "place": "park beach forest market lake garden hill farm school bridge harbour meadow".split(),
    "home": "house cottage tower cabin castle tent hut mill".split(),
    "animal": "dog cat bird fox duck rabbit horse mouse bear goat frog hen".split(),
    "food": "bread cheese cake soup honey milk rice fish corn jam".split(),
    "spot": "bench tree stone bush fence ladder table leaf".split(),
}
FILLERS = {
    "size": "small big old tiny tall quiet".split(),
    "kind": "little kind brave clever happy funny".split(),
    "weather": "sunny rainy windy cold warm".split(),
    "sad": "sad tired lonely".split(),
}
OPENINGS = [
    "Once upon a time there was a {kind} {who} named {Name}.",
    "Once upon a time a {kind} {who} named {Name} lived in a {size} {home}.",
    "In a {size} {home} lived a {who} named {Name}.",
    "There once was a {kind} {who} named {Name} who lived in a {size} {home}.",
]
TOYS = [
    "{She} had a {colour} {toy}.",
    "{Name} had a {colour} {toy} and loved it very much.",
    "{Her} mother gave {obj} a {colour} {toy}.",
]
WALKS = [
    "One {weather} day {Name} went to the {place} with the {colour} {toy}.",
    "One day {Name} took the {toy} and walked to the {place}.",
    "One {weather} morning {she} took the {colour} {toy} to the {place}.",
]
FRIENDS = [
    "There {she} met a {who2} named {Other}.",
    "At the {place} {Name} saw a {who2} named {Other}.",
    "A {who2} named {Other} was there too.",
]
PLOTS = [
    [
        "{Other} was {sad}.|{Other} was {sad} and had nothing to play with.",
        '{Name} said, "Do not be {sad}, {Other}. You can play with my {toy}."',
        "{Other} smiled and thanked {Name}.|{Name} and {Other} played with the {colour} {toy} all day.",
    ],
    [
        "Then {Name} lost the {toy}. {She} looked for it but could not find it.",
        "{Other} found the {colour} {toy} under the {spot}.|{Other} looked behind the {spot} and found the {toy}.",
        '"Thank you, {Other}!" said {Name}.|{Name} was so happy to have the {toy} back.',
    ],
    [
        "{Name} and {Other} found a hungry {animal} near the {spot}.|A hungry {animal} came from behind the {spot}.",
        "{Other} had some {food} and gave it to the {animal}.|{Name} gave the {animal} some {food}.",
        "The {animal} ate all the {food}, and {Name} and {Other} laughed.",
    ],
    [
        "A {animal} came, took the {colour} {toy} and ran away.",
        '"Stop!" called {Name}. {Other} and {Name} ran after the {animal}.|{Other} and {Name} ran after the {animal}.',
        "The {animal} dropped the {toy} under the {spot}, and {Other} gave it back to {Name}.",
    ],
]
MORALS = [
    "From that day on {Name} and {Other} were good friends.",
    "{Name} and {Other} were friends forever.",
    "In the evening {Name} told {her} mother about {Other}.",
    "{She} was happy because {she} had a new friend named {Other}.",
]
ALL_NAMES = {start + end: who for who, ends in ENDS.items() for start in STARTS for end in ends}


def story(chance: random.Random, names: list[str]) -> str:
    """One story about two of `names`, a girl and a boy, so that a pronoun always says who is meant: the hero."""
    hero = chance.choice(names)
    other = chance.choice([name for name in names if ALL_NAMES[name] != ALL_NAMES[hero]])
    slots = {key: chance.choice(words) for key, words in (CATEGORIES | FILLERS).items()}
    she, obj, her = PRONOUNS[ALL_NAMES[hero]]
    slots |= {
        "Name": hero,
        "Other": other,
        "who": ALL_NAMES[hero],
        "who2": ALL_NAMES[other],
        "she": she,
        "She": she.capitalize(),
        "obj": obj,
        "her": her,
        "Her": her.capitalize(),
    }
    parts = [OPENINGS, TOYS, WALKS, FRIENDS, *(line.split("|") for line in chance.choice(PLOTS)), MORALS]
    text = " ".join(chance.choice(part) for part in parts).format(**slots)
    return re.sub(r"\ba (?=[aeiou])", "an ", text) + " The end."


def vocabulary() -> set[str]:
    """Every word that a story can have, names included, in lower case."""
    templates = " ".join([*OPENINGS, *TOYS, *WALKS, *FRIENDS, *MORALS, *(line for plot in PLOTS for line in plot)])
    text = re.sub(r"\{\w+\}", " ", templates)
    fillers = " ".join(word for words in (CATEGORIES | FILLERS).values() for word in words)
    pronouns = " ".join(word for forms in PRONOUNS.values() for word in forms)
    return set(re.findall("[a-z]+", f"{text} {fillers} {pronouns} an girl boy the end {' '.join(ALL_NAMES)}".lower()))


def faults(text: str) -> list[str]:
    """What a reader would find wrong with a story: an empty list if nothing."""
    found, words = [], re.findall("[A-Za-z]+", text)
    if unknown := {word for word in words if word.lower() not in vocabulary()}:
        found.append(f"unknown words: {sorted(unknown)}")
    introduced = re.findall(r"(?:girl|boy) named (\w+)", text)[:2]
    if strangers := {word for word in words if word in ALL_NAMES} - set(introduced):
        found.append(f"names never introduced: {sorted(strangers)}")
    if len(set(introduced)) != 2:
        found.append(f"not two names: {introduced}")
    genders = re.findall(r"(girl|boy) named", text)[:2]
    if len(set(genders)) != 2:
        found.append(f"not a girl and a boy: {genders}")
    elif wrong := {word for word in map(str.lower, words) if word in PRONOUNS[genders[1]]}:
        found.append(f"pronouns that are not the hero's: {sorted(wrong)}")
    for category, members in CATEGORIES.items():
        if len(used := {word for word in words if word in members}) > 1:
            found.append(f"more than one {category}: {sorted(used)}")
    if not text.endswith("The end."):
        found.append("no end")
    return found
