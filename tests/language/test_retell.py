"""What is said in English further down is found again in the catalogue: errors, verdicts, comparisons, NaN origins."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tftrace.describe import told_fact
from tftrace.language import speaking
from tftrace.language.catalogue import files, read, sentences
from tftrace.language.retell import retold

from .sentences import PACKAGE, WORDS, name, sources, translated

OWN, TOLD = read("zh"), read("zh", "told")
ROOT = Path(__file__).parents[2]
# Rooms whose sentences are data: faces hand them to `retold`.
ROOMS = (
    "capture/check/cells", "capture/check/checker", "capture/check/host_arrays", "capture/check/judge",
    "capture/check/masks", "capture/check/verdicts", "capture/keep_when", "compare/difference_map",
    "compare/prerequisites", "compare/reasons", "compare/sentences", "describe/derivation", "describe/equations",
    "describe/nan_sentences", "describe/run_summary", "explain/", "models/inputs", "models/source", "models/weights",
    "learn/lesson_file", "learn/questions/asking", "learn/reading", "navigate/condition",
    "navigate/nonfinite", "navigate/value_advice", "recipes/evaluate", "recipes/format/named_lists",
    "recipes/format/papers.py", "recipes/format/recipe.py", "recipes/format/shorthand", "recipes/format/sources",
    "recipes/formula/", "trace/missing", "tui/",
)  # fmt: skip
FOR_PROGRAMS = ("mcp_server/", "testing/")  # which speak English
# Words that are no sentences: names, patterns, styles.
NO_SENTENCES = re.compile(
    r"\\|model type `|Validation error|gated repo|appear to have a file|no file named|attn_implementation"
    r"|^\s*<|[:;] [^;]*; "
)
CHINESE = re.compile("[\u4e00-\u9fff]")


def texts(node: ast.expr) -> list[str]:
    """What a string may be, with \0 for each part that only a run knows."""
    if isinstance(node, ast.Constant):
        return [node.value.replace("{}", "\0")] if isinstance(node.value, str) else ["\0"]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    if isinstance(node, ast.FormattedValue):
        return texts(node.value) if isinstance(node.value, ast.IfExp | ast.JoinedStr) else ["\0"]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in itertools.product(*map(texts, node.values))][:64]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a, b in itertools.product(texts(node.left), texts(node.right))]
    return ["\0"]


def errors() -> Iterator[tuple[str, str]]:
    """The sentence of each TraceError that the package raises."""
    for file, tree in sources():
        if file.startswith(FOR_PROGRAMS):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name(node) == "TraceError" and node.args:
                yield from ((f"{file}:{node.lineno}", text) for text in texts(node.args[0]) if WORDS.search(text))


def data() -> Iterator[tuple[str, str]]:
    """Each sentence, or part of one, that the rooms of data hold."""
    for file, tree in sources():
        if not file.startswith(ROOMS):
            continue
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        within |= {id(part) for node in ast.walk(tree) if translated(node) for part in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docs | within:
                for text in texts(node):
                    if WORDS.search(text) and not NO_SENTENCES.search(text):
                        yield f"{file}:{node.lineno}", text


@cache
def shapes() -> str:
    return "\n".join(english.replace("{{", "{").replace("}}", "}") for english in TOLD)


def known(text: str) -> bool:
    """Whether a template has these words, with anything in the place of what only a run knows."""
    parts = [re.escape(part) for part in re.split("\0+", text.strip(" ,;:."))]
    with speaking("zh"):
        whole = retold(text.replace("\0", "x1"))
    return text in OWN or bool(CHINESE.search(whole)) or re.search("[^\n]*?".join(parts), shapes()) is not None


def test_every_error_is_said_in_chinese() -> None:
    with speaking("zh"):
        lost = [(place, text) for place, text in errors() if not CHINESE.search(retold(text.replace("\0", "x1")))]
    assert lost == []


def test_the_words_of_what_data_say_are_known() -> None:
    assert [(place, text) for place, text in data() if not known(text)] == []


def test_every_variant_has_its_chinese() -> None:
    named = "\n".join(recipe.read_text(encoding="utf-8") for recipe in (ROOT / "recipes").glob("*.toml"))
    names = set(re.findall(r'^name *= *"([a-z][^"]* [^"]*)"', named, re.MULTILINE))
    papers = set(re.findall(r'^\[papers\..*?^name *= *"([^"]*)"', named, re.DOTALL | re.MULTILINE))
    assert len(names) > 50 and sorted(names - papers - TOLD.keys()) == []


def test_no_template_is_there_in_vain() -> None:
    nodes = [node for _, tree in sources() for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr)]
    said = [text for node in nodes for text in texts(node)]
    said += [recipe.read_text(encoding="utf-8") for recipe in (ROOT / "recipes").glob("*.toml")]
    every = "\n".join(text.replace("\n", " ") for text in said)
    for english in TOLD:
        for part in re.split(r"\{\w+[^{}]*\}|[:;]", english.replace("{{", "{").replace("}}", "}")):
            words = part.strip(" .,()✓✗△·").split(" ")
            pairs = [" ".join(words[at : at + 2]) for at in range(len(words) - 1)] if len(words) > 2 else []
            assert not pairs or any(pair in every for pair in pairs), english


def test_templates_have_the_fields_of_their_chinese_and_stand_once() -> None:
    fields = re.compile(r"(?<!\{)\{(\w+)")
    every = [english for file in files("zh", "told") for english in sentences(file)]
    assert len(every) == len(set(every))
    for english, chinese in TOLD.items():
        assert set(fields.findall(english)) == set(fields.findall(chinese)), english
        assert not re.search("[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]", chinese), f"{chinese}: full-width marks"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("There is no step 9 in a: b.tftrace: its steps are 0 to 7.", "a: b.tftrace 中没有步骤 9：步骤为 0 到 7。"),
        ("· unchecked: random: dropout is active (training mode)", "· 未检查：随机：dropout 处于启用状态（训练模式）"),
        (
            "✗ differs  1.0e-01 > 2.0e-07 (32 cells) · fits: scores not scaled",
            "✗ 不符  1.0e-01 > 2.0e-07（32 个单元） · 符合：分数没有缩放",
        ),
        (
            "3 Inf in output: overflow (66246 > 65504, the largest float16); first at row 0; 41 steps reached",
            "output 中有 3 个 Inf：溢出（66246 > 65504，后者是 float16 的最大数）；首先出现在 row 0；波及 41 个步骤",
        ),
        ("nothing known", "nothing known"),
    ],
)
def test_a_sentence_and_its_parts_are_retold(english: str, chinese: str) -> None:
    assert retold(english) == english
    with speaking("zh"):
        assert retold(english) == chinese


def test_packages_catalogues_are_in_the_package() -> None:
    assert all(file.is_relative_to(PACKAGE) for file in files("zh", "told"))


def test_what_was_found_of_a_pair_is_told_as_a_whole() -> None:
    cause = "other formula: A fits the equation itself, B ReLU in place of GELU"
    with speaking("zh"):
        for said in (
            f"born here: 0.161 of a token's length, rounding explains 9.54e-07 ({cause})",
            "rounding: about 4.81e-07 of a token's length, rounding explains 5.47e-06",
            f"healed before the answer: at least 0.2 of a token's length ({cause})",
        ):
            assert not re.search("token's|rounding|explains|place|fits", retold(said)), retold(said)


def test_what_a_model_said_is_never_retold() -> None:
    said = "“the twenty second of november in two thousand”"
    with speaking("zh"):
        assert retold(said) == said and told_fact("text", "at least a film of mine") == "at least a film of mine"
        assert told_fact("steps", "200 in 1 forward pass") != "200 in 1 forward pass"
        assert told_fact("checks", "✓ 77 hold  △ 2 by design") == "✓ 77 成立  △ 2 有意不同"
