"""Statements, call sites and names of code, as a debugger needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from tftrace.capture.code_site import call_site, code_of, qualified_name, statements

CODE = '''\
x = f(
    1,
    2,
)
for i, (a, b) in enumerate(
    pairs
):
    y = a; z = b
    with open(p) as q:
        total += a
if (w := x) > 2:
    pass
def g(
    c,
):
    """Says
    nothing."""
    return [k for k in c]
'''


def test_lines_map_to_statements_and_headers_end_where_the_body_begins(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(CODE)
    found = statements(str(file))
    spans = {line: (s.site.line, s.site.end_line) for line, s in found.items()}
    assert {spans[n] for n in range(1, 5)} == {(1, 4)}
    assert {spans[n] for n in range(5, 8)} == {(5, 7)}
    assert spans[8] == (8, 8) and spans[9] == (9, 9) and spans[10] == (10, 10) and spans[11] == (11, 11)
    assert {spans[n] for n in range(13, 16)} == {(13, 15)} and spans[16] == spans[17] == (16, 17)
    binds = {line: set(s.binds) for line, s in found.items()}
    assert binds[1] == {"x"} and binds[5] == {"i", "a", "b"} and binds[9] == {"q"} and binds[10] == {"total"}


def test_a_file_that_is_no_python_has_no_statements(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (:")
    assert statements(str(tmp_path / "broken.py")) == {}
    assert statements(str(tmp_path / "missing.py")) == {}


class Caller:
    def site(self) -> Any:
        def inner() -> tuple[Any, str]:
            frame = sys._getframe(1)
            return call_site(frame), qualified_name(frame)

        return 1 and (inner(), 0)[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not know columns")
def test_a_call_site_is_the_very_expression() -> None:
    site, name = Caller().site()
    line = Path(__file__).read_text().splitlines()[site.line - 1]
    assert line[site.col : site.end_col] == "inner()" and name == "Caller.site"


def test_a_qualified_name_before_python_3_11() -> None:
    class Model:
        pass

    def frame(variables: tuple[str, ...], values: dict[str, Any]) -> FrameType:
        code = SimpleNamespace(co_name="forward", co_varnames=variables)
        return SimpleNamespace(f_code=code, f_locals=values)  # type: ignore[return-value]

    assert qualified_name(frame(("self", "x"), {"self": Model()})) == "Model.forward"
    assert qualified_name(frame(("x",), {"x": 1})) == "forward"


def test_code_below_decorators() -> None:
    import functools

    def plain() -> None: ...

    @functools.wraps(plain)
    def wrapped() -> None: ...

    assert code_of(wrapped) is plain.__code__ and code_of(len) is None
