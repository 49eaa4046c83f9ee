"""The table of papers, what refers to it, and the page that is made from both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import tftrace
from tftrace import describe
from tftrace.cli import main
from tftrace.recipes.format.library import entries, folder, load, read, shipped
from tftrace.recipes.format.lint import lint
from tftrace.recipes.format.papers import keys, papers
from tftrace.recipes.format.papers_page import page
from tftrace.recipes.format.recipe import RecipeError

DOCS = Path(__file__).parents[2] / "docs"
OWN = """
[papers.mine2026]
authors = "Me & You"
year    = 2026
title   = "On Gates"
edition = "second printing"
address = "https://example.org/gates"
name    = "Gates"

[[equation]]
id = "own"
cite = "{mine2026}, §2, Eq. (3); after {vaswani2017}, §3.3"
tex = 'y=xA'
formula = "x @ T(A)"
dims = { x = "* I", A = "O I", out = "* O" }
bind = [{ module = "torch.nn.Linear", x = "arg:input", A = "param:weight", out = "return" }]
"""


def test_every_paper_of_the_table_is_whole_and_cited() -> None:
    table, mistakes = papers(load(folder() / "papers.toml"))
    assert mistakes == [] and len(table) > 80
    assert len({paper.short for paper in table.values()}) == len(table)  # no two look alike
    written = [e["cite"] for f in folder().glob("*.toml") for e in entries(load(f), f.name)]
    assert {key for cite in written for key in keys(cite)} == set(table)
    # AND what is cited without a key names no year: it would be a paper that is not in the table
    assert not [cite for cite in written if re.search(r"\b(19|20)\d\d\b", re.sub(r"\{.*?\}", "", cite))]


def test_a_key_becomes_the_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN, encoding="utf-8")
    assert lint(file) == []
    (equation,) = read(file)
    assert equation.cite == "Me & You 2026 (Gates), §2, Eq. (3); after Vaswani et al. 2017, §3.3"
    assert [(p["key"], p["at"]) for p in equation.data["papers"]] == [
        ("mine2026", "§2, Eq. (3)"),
        ("vaswani2017", "§3.3"),
    ]
    # WHEN a run is recorded with it THEN its trace keeps the papers, and a reader sees them in full where there is room
    with torch.no_grad(), tftrace.record(nn.Linear(3, 2, bias=False), recipes=file) as trace:
        nn.Linear(3, 2)
    model = nn.Linear(3, 2, bias=False)
    with torch.no_grad(), tftrace.record(model, recipes=file) as trace:
        model(torch.randn(2, 3))
    (shown,) = [e for e in describe.equations(trace, 0) if e.id == "own"]
    assert shown.cite == equation.cite
    assert shown.papers[0] == "Me & You 2026. On Gates. second printing. https://example.org/gates"
    assert main(["recipes", "show", "own", "--recipes", str(file)]) == 0
    assert "    https://arxiv.org/abs/1706.03762" in capsys.readouterr().out.splitlines()


def test_a_free_text_is_a_citation_as_before(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace("{mine2026}", "[Me 2026]").replace("{vaswani2017}", "Vaswani"), encoding="utf-8")
    (equation,) = read(file)
    assert equation.cite == "[Me 2026], §2, Eq. (3); after Vaswani, §3.3" and "papers" not in equation.data


def test_what_is_wrong_with_papers_is_told_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    wrong = OWN.replace("{vaswani2017}", "{vaswani2071}").replace('title   = "On Gates"', "title = 3")
    file.write_text(wrong.replace("https://", "javascript:").replace("name    =", "nickname ="), encoding="utf-8")
    assert [(f.line, f.column, f.message.split(":")[0]) for f in lint(file)] == [
        (5, 9, "'title' is missing or is not text."),
        (7, 12, "the address does not begin with http"),
        (8, 13, "there is no 'nickname' in a paper"),
        (12, 9, "there is no paper 'mine2026'"),
    ]
    with pytest.raises(RecipeError, match=r"own\.toml: there is no 'nickname' in a paper"):
        read(file)


def test_the_page_of_papers_is_up_to_date() -> None:
    assert (DOCS / "papers.md").read_text(encoding="utf-8") == page(shipped()), (
        "run `tftrace recipes papers > docs/papers.md`"
    )


def test_the_page_says_where_an_equation_stands_in_both_languages() -> None:
    text = page(shipped())
    section = text.partition("## Devlin et al. 2018")[2].partition("\n## ")[0]
    (row,) = [line for line in section.splitlines() if "`bert-embedding`" in line]
    assert "§3 (Input/Output Representations), Figure 2" in row and "`BertEmbeddings`" in row
    assert "vector of the segment" in row and "句段向量" in row
    assert all(line.count(" | ") == 4 for line in text.splitlines() if line.startswith("| ") and "---" not in line)
