"""Answers fit into 4 KB, cursors lead through all of them, and their JSON is what the schemas say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tftrace
from tftrace import Trace
from tftrace.answers.brief import as_exact_as, cut, rounded
from tftrace.answers.comparison_answer import comparison_answer
from tftrace.answers.derivation_answer import derivation_answer
from tftrace.answers.found_answer import found_answer
from tftrace.answers.origin_answer import origin_answer
from tftrace.answers.paged import MOST_ROOM, ROOM, Answer, listed
from tftrace.answers.rows_answer import rows_page
from tftrace.answers.step_answer import step_answer
from tftrace.answers.tree_answer import tree_answer
from tftrace.answers.verdict_answer import verdict_answer
from tftrace.cli import main
from tftrace.errors import TraceError
from tftrace.maintain import query
from tftrace.trace import schema

from ..support.builders import Builder, attention_trace, hostile_trace, tree_trace

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return attention_trace(tmp_path_factory.mktemp("answers"), forwards=40)


def every_answer(trace: Trace) -> list[Answer]:
    """Each kind of answer that one trace gives."""
    found = [tree_answer(trace), tree_answer(trace, depth=9), found_answer(trace)]
    found += [part(trace, at) for at in range(min(3, len(trace))) for part in (tree_answer, step_answer)]
    found += [verdict_answer(trace, depth=depth) for depth in (0, 1, 2, 3)]
    return [*found, *(origin_answer(trace, depth=depth) for depth in (0, 1, 2))]


@pytest.mark.parametrize("lines", [False, True], ids=["json", "lines"])
def test_a_page_fits_and_cursors_lead_through_all_items(lines: bool, toy: Trace) -> None:
    for answer in every_answer(toy):
        given: list[int] = []
        cursor: str | None = None
        for _ in range(200):
            page = answer.page(cursor=cursor, lines=lines)
            text = "\n".join(page.to_lines()) if lines else page.to_json()
            assert len(text.encode()) <= ROOM, answer.question
            given += [item.at for item in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert given == [item.at for item in answer.items(0)]
        assert answer.total is None or len(given) == answer.total


@pytest.mark.parametrize("lines", [False, True], ids=["json", "lines"])
def test_no_stranger_makes_it_larger_or_reaches_the_terminal(lines: bool, tmp_path: Path) -> None:
    long = "\U0001f600" * 20_000
    builder = Builder(tmp_path / "long.tftrace", equations={long: {"cite": long, "formula": long}}, text=long)
    for at in range(12):
        step = builder.step(min(at, 1), name=long, type=long, status=long)
        builder.tensor(step, schema.OUTPUT, long, (7,) * 40, dtype=long, nan=3)
        builder.check(step, long, schema.DIFFERS, variant=long, reason=long)
    for trace in (builder.done(), hostile_trace(tmp_path)):
        for answer in every_answer(trace):
            page = answer.page(lines=lines)
            text = "\n".join(page.to_lines()) if lines else page.to_json()
            assert len(text.encode("utf-8", "replace")) <= ROOM, answer.question
            assert "\x1b" not in text and (page.items or not answer.total)


def test_a_limit_gives_more_than_fits_but_not_without_end() -> None:
    answer = Answer("show", ["Many."], listed([({"n": at}, "x" * 70) for at in range(5000)]), 5000)
    assert len(answer.page(100, lines=True).items) == 100  # 7 KB
    page = answer.page(10**9, lines=True)
    assert page.cursor is not None and len("\n".join(page.to_lines())) <= MOST_ROOM
    assert answer.page(0).items == [] and answer.page(0).cursor == "0"
    assert answer.page(3, "4998").cursor is None and answer.page(cursor="999999").items == []
    assert answer.page(2).to_dict()["total"] == 5000
    assert answer.page(2, lines=True).to_lines()[-1] == "… 2 of 5000 shown; more with cursor 2"
    for wrong in ("-1", "x", "1.5", "9" * 40, "٣"):
        with pytest.raises(TraceError, match="There is no cursor"):
            answer.page(cursor=wrong)
    with pytest.raises(TraceError, match="no limit -3"):
        answer.page(-3)


def test_a_tree_has_calls_to_a_depth_and_the_lines_of_the_step_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0 ─ 1 line ─ 2 ─ 3 line ─ 4 ─ 5;  6
    trace = tree_trace(tmp_path, [0, 1, 2, 3, 4, 5, 0], lines={1, 3})

    def shown(step: int | None = None, depth: int | None = None) -> list[int]:
        return [item.at for item in tree_answer(trace, step, depth).items(0)]

    assert shown(None, 0) == [0, 6] and shown(None, 1) == [0, 2, 6] and shown(None, 2) == [0, 2, 4, 6]
    assert shown() == [0, 2, 4, 6] and shown(None, 3) == [0, 2, 4, 5, 6]
    assert shown(2, 1) == [2, 3, 4] and shown(0, 0) == [0, 1]
    monkeypatch.setattr("tftrace.answers.tree_answer._MANY", 5)
    assert "NaN in no steps; nan says where NaN and Inf were made." in tree_answer(trace).sentences
    with pytest.raises(TraceError, match="its steps are 0 to 6"):
        tree_answer(trace, 7)


def test_texts_and_numbers_are_short() -> None:
    assert cut("abcdef", 4) == "abc…" and cut("\x1b[2J") == "\\x1b[2J" and cut(None) == ""
    assert rounded(0.123456789) == 0.1235 and rounded(float("nan")) is None and rounded(None) is None
    assert as_exact_as(0.123456789, 1.2e-5) == 0.12346 and as_exact_as(123.456, 0.02) == 123.46
    assert as_exact_as(1.0, 50.0) == 1.0 and as_exact_as(2.0, 0.0) == 2.0


def test_what_is_found_is_what_a_breakpoint_finds(toy: Trace) -> None:
    found = found_answer(toy, "attention.query", "nan > 0").page(lines=True).to_lines()
    assert found[0] == "1 of 600 steps match attention.query when nan > 0."
    assert found[1].startswith("21 attention.query  Linear  toy.py:4  ✓  ⇒ result  1×2×8") and "2 NaN" in found[1]
    assert found_answer(toy, "toy.py:10").total == 40
    with pytest.raises(TraceError, match="no name 'nope'"):
        found_answer(toy, when="nope ~ 1")


def test_verdicts_are_told_worst_first(toy: Trace) -> None:
    answer = verdict_answer(toy)
    page = answer.page()
    assert page.sentences[0] == "79 checks hold, 1 differ, 40 could not be made." and answer.code == 1
    wrong = "✗ attention differs at 1 of 40 steps, 0.2 > 1.20e-05; first at step 26, attention.attend; fits: "
    assert page.sentences[1].startswith(wrong) and page.items[0].data["first"] == 26
    assert "NaN or Inf was made: step 21" in page.sentences[2]
    assert [item.data["step"] for item in verdict_answer(toy, depth=2).items(0)] == [26]


def test_one_cell_is_derived(film: Trace) -> None:
    step = film.find("*.attention.self")[0]
    answer = derivation_answer(step.explain(0, 3, 7, replay=False))
    page = answer.page()
    assert answer.code == 0 and page.facts["matches"] and page.facts["cell"] == [0, 3, 7]
    assert page.items[0].data["text"].split()[0] in page.items[0].line and len(page.to_json()) <= ROOM


def test_rows_of_a_query_go_on_where_they_ended(toy: Trace) -> None:
    pytest.importorskip("duckdb")
    page = rows_page(toy, "select position, name, max from tensors order by 1", 3, "2", lines=True)
    assert page.cursor == "5" and [item.at for item in page.items] == [2, 3, 4]
    whole = rows_page(toy, "select position, name from steps", lines=False)
    assert whole.cursor is not None and len(whole.to_json()) <= ROOM
    assert whole.items[1].data == {"position": 1, "name": ""}


def test_a_query_whose_time_is_over_before_it_begins_ends(toy: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    made = query._result

    def later(*given: Any) -> Any:
        time.sleep(0.05)  # when the interrupt comes nothing is running
        return made(*given)

    monkeypatch.setattr(query, "_result", later)
    monkeypatch.setattr("tftrace.answers.rows_answer.SECONDS", 0.01)
    with pytest.raises(TraceError, match=r"longer than 0\.01 seconds"):
        rows_page(toy, "select count(*) from range(200000) a, range(200000) b where a.range * b.range % 7 = 3")


def test_a_query_that_takes_too_long_ends(toy: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setattr("tftrace.answers.rows_answer.SECONDS", 0.2)
    with pytest.raises(TraceError, match=r"longer than 0\.2 seconds"):
        rows_page(toy, "select count(*) from range(1000000) a, range(1000000) b where a.range * b.range % 7 = 3")
    with pytest.raises(TraceError, match=r"longer than 0\.2 seconds"):
        rows_page(toy, "select * from range(10000000000)", cursor="9999999999")


# -- the commands, and what the schemas say of them ------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: object) -> Any:
        main([str(word) for word in words])
        return json.loads(capsys.readouterr().out)

    return run


BOUNDS: list[list[object]] = [["--limit", 1], ["--depth", 2], ["--depth", 3, "--limit", 9]]


def test_json_is_what_its_schema_says(said: Callable[..., Any], film: Trace, toy: Trace, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    strange = hostile_trace(tmp_path)

    texts = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in SCHEMAS.glob("*.json")}
    forms = {name: jsonschema.Draft202012Validator(text) for name, text in texts.items()}

    def holds(name: str, found: Any) -> None:
        forms[name].validate(found)
        wrong = [*found[:-1], {}] if isinstance(found, list) else found | {"version": 2}
        assert not forms[name].is_valid(wrong)

    for trace in (film, toy, strange):
        for bounds in BOUNDS:
            for name in ("show", "check", "nan"):
                holds(name, said(name, trace.path, "--json", *bounds))
            holds("compare", said("compare", toy.path, trace.path, "--json", *bounds))
        holds("show", said("show", trace.path, "--step", 1, "--json", "--limit", 5))
        for name in ("check", "nan"):
            holds(name, said(name, trace.path, "--json"))
        holds("compare", said("compare", toy.path, trace.path, "--json"))


def test_what_json_alone_prints_is_as_it_was(said: Callable[..., Any], toy: Trace) -> None:
    assert isinstance(said("check", toy.path, "--json"), list)
    assert said("nan", toy.path, "--json").keys() == {"version", "found", "origins", "innocent"}
    assert said("show", toy.path, "--json").keys() == {"meta", "steps"}
    assert "sentence" in said("compare", toy.path, toy.path, "--json")


def test_commands_keep_their_exit_codes(
    toy: Trace, film: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "known.toml"
    assert main(["check", str(toy.path), "--depth", "0", "--write-accept", str(known)]) == 1
    assert "attention" in known.read_text(encoding="utf-8")
    known.write_text(known.read_text(encoding="utf-8").replace('""', '"so"'), encoding="utf-8")
    assert main(["check", str(film.path), "--depth", "0", "--accept", str(known)]) == 0
    assert "Nothing is left to accept of attention.attend · attention" in capsys.readouterr().out
    assert main(["check", str(toy.path), "--depth", "1"]) == main(["nan", str(toy.path), "--limit", "1"]) == 1
    assert main(["check", str(film.path), "--depth", "1"]) == main(["nan", str(film.path), "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "55 checks hold" in out and "No NaN or Inf was made." in out
    assert main(["compare", str(film.path), str(film.path), "--depth", "1"]) == 0
    assert main(["show", str(film.path), "--cursor", "x"]) == 2
    assert "There is no cursor 'x'" in capsys.readouterr().err


def test_a_comparison_names_the_first_difference(film: Trace, tmp_path: Path) -> None:
    assert main(["record", "demo:bert", "--text", "this is not a good film", "-o", str(tmp_path / "other"), "--set",
                 "layer_norm_eps=0.01", "--no-check"]) == 0  # fmt: skip
    found = film.compare(tftrace.load(tmp_path / "other"))
    page = comparison_answer(found).page()
    assert page.facts["verdict"] == "differs" and page.sentences[0] == found.sentence
    assert page.items[0].data["item"] == "born" and "LayerNorm" in page.items[0].data["left"]["name"]
    lines = comparison_answer(found).page(lines=True).to_lines()
    assert any(line.startswith("born: ") and "LayerNorm" in line for line in lines)
