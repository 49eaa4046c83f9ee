"""`tftrace recipes` lists the known equations, draws one, and finds mistakes in recipe files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..errors import TraceError
from ..language import spoken, tr
from ..language.retell import retold
from ..terminal import document, say, tell
from ._shared import Recipes

recipes = App(name="recipes", help="List, draw and check equations, yours and ours.", result_action="return_value")


@recipes.default
@recipes.command(name="list")
def every(*, own: Annotated[Recipes, Parameter(name="--recipes")] = None) -> None:
    """List the equations: yours first, then those that come with tftrace.

    Parameters
    ----------
    own
        File or folder of your own equations; a tftrace.toml in this folder or above may name some too.
    """
    from ..recipes.format.library import with_own

    known = with_own(own).equations
    wide = max(map(len, known))
    for equation in known.values():
        steps = dict.fromkeys(name for bind in equation.binds for name in (bind.patterns or (tr("by structure"),)))
        tell(f"{equation.id:{wide}}  {equation.cite}  [{', '.join(steps)}]")


@recipes.command
def show(name: str, *, own: Annotated[Recipes, Parameter(name="--recipes")] = None) -> None:
    """Draw one equation, with its formula, dimensions, the origin of its symbols, and its variants.

    Parameters
    ----------
    name
        Id of the equation, as 'tftrace recipes' lists it.
    own
        File or folder of your own equations.
    """
    from difflib import get_close_matches

    from ..recipes.format.covers import COVERS
    from ..recipes.format.library import with_own
    from ..recipes.typeset import mathtext

    known = with_own(own).equations
    if name not in known:
        near = ", ".join(get_close_matches(name, known, 3))
        raise TraceError(
            f"There is no equation {name!r}"
            + (f": is it one of {near}?" if near else ": 'tftrace recipes' lists them.")
        )
    equation = known[name]
    papers = dict.fromkeys(f"    {paper['whole']}\n    {paper['address']}" for paper in equation.data.get("papers", []))
    out = [
        equation.cite,
        *(line for paper in papers for line in paper.split("\n")),
        "",
        *(f"    {row}" for row in mathtext.render(equation.tex)),
        "",
    ]
    if equation.covers:
        out += [
            tr("checked is the {part}: {rest}", part=retold(equation.covers), rest=COVERS[equation.covers][spoken()]),
            "",
        ]
    out += [equation.note.get(spoken()) or equation.note.get("en", ""), ""]
    out += [tr("formula"), *(f"    {part.strip()}" for part in equation.formula.source.split(";")), ""]
    out += [tr("dimensions"), *(f"    {symbol}: {pattern.source}" for symbol, pattern in equation.dims.items())]
    for bind in equation.data.get("bind", []):
        out += ["", tr("on {steps}", steps=_steps(bind))]
        out += [f"    {key} = {value}" for key, value in bind.items() if isinstance(value, (str, int, float))][1:]
    for variant in equation.data.get("variant", []):
        given = variant.get("formula") or variant.get("dims")
        out += [
            "",
            tr("variant ({kind}): {name}", kind=variant["kind"], name=retold(str(variant.get("name")))),
            f"    {given}",
        ]
    tell(*out)


@recipes.command
def papers(*, own: Annotated[Recipes, Parameter(name="--recipes")] = None) -> None:
    """Print a page in Markdown: for each paper its equations, and the code that computes them.

    Parameters
    ----------
    own
        Equations of your own, a file or a folder of them.
    """
    from ..recipes.format.library import with_own
    from ..recipes.format.papers_page import page

    document([page(with_own(own).equations.values())])


@recipes.command
def lint(*files: Path) -> int:
    """Print every mistake in recipe files, with line and column; the exit code is 1 if there is any.

    Parameters
    ----------
    files
        Recipe files, or folders with them.
    """
    from ..recipes.format import library
    from ..recipes.format.lint import lint as findings

    if not files:
        raise TraceError("Name the file to check: 'tftrace recipes lint my.toml'.")
    every = [file for path in files for file in library.files(path)]
    count = 0
    for file in every:
        for finding in findings(file):
            tell(f"{file}:{finding.line}:{finding.column}: {retold(finding.message)}")
            count += 1
    what = tr("{n} files", n=len(every)) if len(every) > 1 else str(every[0])
    say(
        tr("{n} mistake in {what}." if count == 1 else "{n} mistakes in {what}.", n=count, what=what)
        if count
        else tr("No mistake in {what}.", what=what)
    )
    return int(count > 0)


def _steps(bind: dict[str, Any]) -> str:
    """The matcher of a bind and its value, such as `class BertSelfAttention`."""
    from ..recipes.format.recipe import MATCHERS

    matcher = next((key for key in MATCHERS if key in bind), "nothing")
    return f"{matcher} {bind.get(matcher)}"
