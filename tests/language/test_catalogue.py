"""No sentence for users lacks its Chinese, none is there in vain, and none goes around the catalogue."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from collections import Counter

import pytest

import tftrace.commands._help as help_of
from tftrace import language
from tftrace.cli import _names, main
from tftrace.language import LANGUAGES, catalogue, preferred, speaking, spoken, tr
from tftrace.language.catalogue import files, read
from tftrace.tui.keymap import HINTS, KEYMAP, MATCH_HINTS
from tftrace.tui.pair.pair_keys import PAIR_KEYMAP

from . import sentences

CHINESE = read("zh")


@pytest.fixture(scope="module")
def helps() -> set[str]:
    """Every paragraph of the help of every command."""
    asked: set[str] = set()

    def ask(sentence: str, /, **values: object) -> str:
        asked.add(sentence)
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(help_of, "tr", ask)
        recipes = (["recipes", name] for name in ("list", "show", "papers", "lint"))
        for words in ([], *([name.replace("_", "-")] for name in _names), *recipes):
            assert main(["--lang", "zh", *words, "--help"]) == 0
    return asked


def test_every_sentence_has_its_chinese_and_none_is_there_in_vain(helps: set[str]) -> None:
    used = {key for file, tree in sentences.sources() for _, _, key in sentences.keys(file, tree)} | helps
    used |= {*KEYMAP, *PAIR_KEYMAP, *(text for text, _ in (*HINTS, *MATCH_HINTS) if re.search("[a-z]{2}", text))}
    assert sorted(used - CHINESE.keys()) == []
    assert sorted(CHINESE.keys() - used) == []


def test_no_sentence_stands_in_two_catalogues() -> None:
    every = [key for file in files("zh") for key in catalogue.sentences(file)]
    assert [key for key, times in Counter(every).items() if times > 1] == []


def test_the_chinese_has_the_same_placeholders_and_is_chinese() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name} if "{" in text else set()

    for english, chinese in CHINESE.items():
        assert fields(english) == fields(chinese), english
        assert re.search("[\u3001\u4e00-\u9fff\uff08\uff0c\uff1a]", chinese), english
        assert not re.search("[\u4e00-\u9fff][,;:?!]|[,;:?!][\u4e00-\u9fff]", chinese), f"{chinese}: full-width marks"


def test_no_sentence_is_put_together_on_its_way_to_the_catalogue() -> None:
    assert [one for file, tree in sentences.sources() for one in sentences.built(file, tree)] == []


def test_no_sentence_for_users_goes_around_the_catalogue() -> None:
    trees = [(file, tree) for file, tree in sentences.sources() if file.startswith(sentences.DONE)]
    assert [one for file, tree in trees for one in sentences.around(file, tree)] == []


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "de_DE", "LANGUAGE": "fr:zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN", "LANGUAGE": "en:zh"}, "en"),
        ({"LANGUAGE": "zh", "LC_ALL": "C"}, "en"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "zh-Hans"}, "zh"),
        ({"LANG": "zhuang"}, "en"),
    ],
)
def test_the_environment_says_which_language(environment: dict[str, str], found: str) -> None:
    assert preferred(environment) == found


def test_a_sentence_in_each_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_catalogue", {"zh": {"{n} steps of {what}": "{what}的 {n} 个步骤"}}.__getitem__)
    assert tr("{n} steps of {what}", n=3, what="{x}") == "3 steps of {x}"
    with speaking("zh"):
        assert spoken() == "zh"
        assert tr("{n} steps of {what}", n=3, what="{x}") == "{x}的 3 个步骤"
        assert tr("unknown {n}", n=1) == "unknown 1"
        assert tr("{braces} stay where nothing is filled in") == "{braces} stay where nothing is filled in"
    assert spoken() == LANGUAGES[0]


def test_the_command_line_takes_a_language_anywhere_but_from_a_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chinese = CHINESE["Folder of the trace."]
    for words in (
        ["--lang", "zh", "check", "--help"],
        ["check", "--lang=zh", "--help"],
        ["check", "--help", "--lang", "zh"],
    ):
        assert main(words) == 0
        assert chinese in capsys.readouterr().out
    monkeypatch.setenv("LANGUAGE", "zh_CN")
    assert main(["check", "--help"]) == 0
    assert chinese in capsys.readouterr().out
    assert main(["check", "--help", "--lang", "en"]) == 0
    assert "Folder of the trace." in capsys.readouterr().out
    assert main(["--lang", "fr"]) == 2
    assert "en" in capsys.readouterr().err


def test_english_reads_no_catalogue() -> None:
    code = (
        "import sys; from tftrace.cli import main; main(['--help']);"
        "assert 'tftrace.language.catalogue' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
