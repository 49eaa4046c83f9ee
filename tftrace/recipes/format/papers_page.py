"""Makes a page from the recipes: for each paper its equations, and the code that computes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .recipe import Bind, Equation

_MOST = 8  # names listed for one bind

HEAD = """\
# Papers, equations, code

Made from the recipes by `tftrace recipes papers`; do not edit. For each paper: where an equation stands in the text,
which classes and functions of the code compute it, and what it says. If a check covers less than the equation shows,
what it covers is given in brackets (docs/recipes.md).

本页由 `tftrace recipes papers` 从公式库生成，请勿手工修改。逐篇论文列出：
公式在文中的位置、代码中计算它的类与函数、公式的说明。若检查的范围小于公式所示，则在公式后注明（见 docs/recipes.md）。
"""
_COLUMNS = (
    "| in the paper 文中位置 | equation 公式 | in the code 代码 | English | 中文 |\n| --- | --- | --- | --- | --- |"
)


def page(equations: Iterable[Equation]) -> str:
    """Make the page.

    Returns:
        Markdown; papers are sorted by year and authors, and equations that cite no paper come last.
    """
    papers: dict[str, Mapping[str, Any]] = {}
    rows: dict[str, list[str]] = {}
    for equation in equations:
        cited = equation.data.get("papers", [])
        for paper in cited:
            papers[paper["key"]] = paper
            rows.setdefault(paper["key"], []).append(_row(paper["at"], equation))
        if not cited:
            rows.setdefault("", []).append(_row(equation.cite, equation))
    ordered = sorted(papers.values(), key=lambda paper: (paper["year"] or 9999, paper["authors"], paper["title"]))
    parts = [HEAD]
    for paper in ordered:
        parts.append(f"## {paper['short']}\n\n{paper['whole']}. <{paper['address']}>\n")
        parts.append("\n".join([_COLUMNS, *dict.fromkeys(rows[paper["key"]])]) + "\n")
    if "" in rows:
        parts.append("## Of the code alone 仅见于代码\n")
        parts.append("\n".join([_COLUMNS, *rows[""]]) + "\n")
    return "\n".join(parts)


def _row(at: str, equation: Equation) -> str:
    tex = re.sub(r"\\\|", r"\\Vert ", " ".join(equation.tex.split())).replace("|", r"\vert ")
    covers = f" ({equation.covers})" if equation.covers else ""
    code = "; ".join(dict.fromkeys(name for bind in equation.binds for name in _names(bind)))
    notes = (_first(equation.note.get(language, "")) for language in ("en", "zh"))
    cells = (at.replace("|", "¦") or "—", f"`{equation.id}`{covers} ${tex}$", code, *notes)
    return "| " + " | ".join(cells) + " |"


def _names(bind: Bind) -> Iterator[str]:
    """The classes, functions or structures that a bind describes, in words."""
    if bind.structure is not None:
        made = [" or ".join(f"`{name}`" for name in names[:3]) for names in bind.structure.children[:4]]
        made += [f"`{names[0]}`" for names in (*bind.structure.parameters, *bind.structure.attributes)][:4]
        kinds = _listed(bind.structure.classes)
        yield " ".join(filter(None, (kinds, f"made of {', '.join(made)}" if made else "")))
    elif bind.matcher == "function":
        yield _listed(bind.patterns) + (f" in {_listed(bind.within)}" if bind.within else "")
    elif bind.matcher == "seen":
        yield f"your own code, where {_listed(bind.patterns)} is seen"
    else:
        yield _listed(bind.patterns)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(f"`{name}`" for name in names[:_MOST]) + more


def _first(note: str) -> str:
    """The first sentence of a note."""
    found = re.match(r".*?(?:[.?!](?=\s[A-Z]|$)|[。？！])", note)
    return (found[0] if found else note).replace("|", "¦")
