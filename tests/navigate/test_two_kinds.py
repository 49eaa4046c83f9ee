"""Differences by mistake (✗) and by design (△): the columns, the faces, `tftrace check`, and what is accepted."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import tftrace
from tftrace import Trace, describe
from tftrace.cli import main
from tftrace.export.formats import FORMATS
from tftrace.navigate import findings, stepping
from tftrace.navigate.accepted import read
from tftrace.navigate.breakpoints import Breakpoints, halts
from tftrace.navigate.condition import fits, parse
from tftrace.navigate.generation_grid import DESIGN, DIFFERS, grid
from tftrace.trace import schema

from ..support.builders import Builder

RECIPE = {
    "cite": "Vaswani et al. 2017, §3.2.1, Eq. (1)",
    "tex": "P=QK",
    "formula": "Q @ T(K)",
    "variant": [
        {"name": "not scaled", "formula": "Q", "kind": "design"},
        {"name": "no mask", "formula": "K", "kind": "mistake"},
    ],
}
FORMER = RECIPE | {"variant": [{"name": "not scaled", "formula": "Q"}]}  # of version 0.1.0
LAYERS = (("layer.0", None, schema.HOLDS), ("layer.1", "not scaled", schema.DIFFERS),
          ("layer.2", "no mask", schema.DIFFERS), ("layer.3", None, schema.DIFFERS))  # fmt: skip


def made(folder: Path, layers: tuple[tuple[str, str | None, str], ...] = LAYERS, **recipe: object) -> Trace:
    """A model of layers, each with one check: step i + 1 is layer i."""
    builder = Builder(folder / "run.tftrace", equations={"attention": RECIPE | recipe})
    builder.step(0, name="")
    for name, variant, verdict in layers:
        at = builder.step(1, name=name, type="Layer", equation="attention")
        residual = 3e-7 if verdict == schema.HOLDS else 0.5
        builder.check(at, "attention", verdict, residual=residual, variant=variant)
    return builder.done()


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return made(tmp_path)


def test_what_stops_and_what_does_not(trace: Trace) -> None:
    assert [describe.verdict(trace, at) for at in range(1, 5)] == [
        "holds", "differs by design", "differs", "differs"
    ]  # fmt: skip
    assert findings.wrong(trace).tolist() == [3, 4]  # a mistake, and what no variant fits
    assert findings.designed(trace).tolist() == [2]
    assert halts(trace).tolist() == [0, 3, 4]
    assert stepping.continue_(trace, 0, halts(trace)) == 3
    stops = Breakpoints(trace)
    stops.designed = True
    assert stops.halts.tolist() == [0, 2, 3, 4]
    assert [one for one in grid(trace).found[:, 0].tolist() if one in (DESIGN, DIFFERS)] == [DESIGN, DIFFERS, DIFFERS]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("verdict = differs", [2, 3, 4]),
        ("verdict = design", [2]),
        ("verdict = mistake", [3, 4]),
        ("verdict != differs and equation = attention", [1]),
        ("verdict != design and equation = attention", [1, 3, 4]),
    ],
)
def test_conditions_know_both_kinds(trace: Trace, condition: str, expected: list[int]) -> None:
    assert fits(trace, parse(condition)).nonzero()[0].tolist() == expected
    word = condition.split()[2] if condition.count(" ") == 2 else ""
    assert not word or stepping.matching(trace, word).nonzero()[0].tolist() == expected


def test_a_trace_without_kinds_has_mistakes_only(tmp_path: Path) -> None:
    trace = made(tmp_path, variant=FORMER["variant"])
    assert findings.wrong(trace).tolist() == [2, 3, 4] and not len(findings.designed(trace))


@pytest.mark.parametrize("odd", [None, "design", [1, {"name": ["not scaled"], "kind": 3}], {"kind": "design"}])
def test_a_strangers_variants_do_no_harm(tmp_path: Path, odd: object) -> None:
    trace = made(tmp_path, variant=odd)
    assert findings.wrong(trace).tolist() == [2, 3, 4]


def test_every_face_marks_both(trace: Trace, capsys: pytest.CaptureFixture[str]) -> None:
    assert "✓ 1 hold  △ 1 by design  ✗ 2 differ" in dict(describe.about(trace))["checks"]
    assert describe.first_wrong(trace) == "first difference: layer.2"
    equation = describe.equations(trace, 2)[0]
    assert equation.judgement.startswith("△ differs by design") and "fits: not scaled" in equation.judgement
    assert describe.equations(trace, 3)[0].judgement.startswith("✗ differs ")
    main(["show", str(trace.path)])
    shown = [line for line in capsys.readouterr().out.splitlines() if "layer." in line]
    assert [line[-1] for line in shown[-4:]] == ["✓", "△", "✗", "✗"]
    assert "△ differs by design" in trace[2]._repr_html_() or "△ differs by design" in trace._repr_html_()
    for name in ("mermaid", "dot", "svg"):
        stream = io.BytesIO()
        FORMATS[name].write(trace, stream, depth=1)
        assert all(mark in stream.getvalue().decode() for mark in "✓△✗"), name
    stream = io.BytesIO()
    FORMATS["json"].write(trace, stream)
    checks = [step["checks"][0] for step in json.loads(stream.getvalue())["steps"][1:]]
    assert [(c["verdict"], c.get("kind")) for c in checks] == [
        ("holds", None), ("differs", "design"), ("differs", "mistake"), ("differs", "mistake")
    ]  # fmt: skip
    stream = io.BytesIO()
    FORMATS["html"].write(trace, stream)
    assert '"verdict":[0,1,4,2,2]' in stream.getvalue().decode().replace(" ", "")


def _check(trace: Trace, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = main(["check", str(trace.path), *options])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_only_mistakes_fail_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = made(tmp_path)
    code, said = _check(trace, capsys)
    assert code == 1 and "1 checks hold, 2 differ, 1 differ by design" in said and "not scaled (1, by design)" in said
    assert said.splitlines()[1].split()[:5] == ["✗", "attention", "1", "2", "1"]
    designed = made(tmp_path, LAYERS[:2])
    code, said = _check(designed, capsys)
    assert code == 0 and said.splitlines()[1].split()[:4] == ["△", "attention", "1", "1"]
    assert _check(designed, capsys, "--strict")[0] == 1
    code = main(["check", str(designed.path), "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert code == 0 and (found["mark"], found["kind"], found["design"], found["differs"]) == ("△", "design", 1, 1)
    assert found["kinds"] == {"not scaled": "design"} and found["first"] == 2


ENTRY = '[[accept]]\nstep = "{}"\nequation = "attention"\nvariant = "{}"\nwhy = "as the port has it"\n'


def test_what_is_accepted_does_not_count(trace: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "accept.toml"
    entries = ENTRY.format("layer.*", "no mask") + ENTRY.format("Layer", "")
    file.write_bytes(b"\xef\xbb\xbf" + entries.replace("\n", "\r\n").encode())  # as editors on Windows write it
    code, said = _check(trace, capsys, "--accept", str(file))
    assert code == 0 and "accepted (2): as the port has it" in said and "(2 accepted)" in said
    assert _check(trace, capsys, "--accept", str(file), "--strict")[0] == 1  # the design is not accepted
    file.write_text(ENTRY.format("layer.2", "no mask") + ENTRY.format("layer.1", "no mask"))
    code, said = _check(trace, capsys, "--accept", str(file))
    assert code == 1  # layer.3 is left
    assert "Nothing is left to accept of layer.1 · attention: no mask: take it out" in said
    code, said = _check(trace, capsys, "--accept", str(file), "--json")
    assert (json.loads(said[: said.rindex("]") + 1])[0]["accepted"], code) == (1, 1)


def test_a_first_file_is_written_and_says_nothing_for_us(
    trace: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "accept.toml"
    assert _check(trace, capsys, "--write-accept", str(file))[0] == 1
    assert file.read_text().count('step     = "layer.*"') == 3 == file.read_text().count("[[accept]]")
    # WHEN nobody said why THEN it accepts nothing
    code, said = _check(trace, capsys, "--accept", str(file))
    assert code == 2 and "entry 1 leaves 'why' empty: say why this difference is wanted" in said
    file.write_text(file.read_text().replace('why      = ""', 'why = "known"'))
    assert _check(trace, capsys, "--accept", str(file), "--strict")[0] == 0
    # and it replaces no file
    code, said = _check(trace, capsys, "--write-accept", str(file))
    assert code == 2 and "exists already" in said


def test_odd_names_come_back_from_the_file(tmp_path: Path) -> None:
    odd = 'a"b\\c[0]?.3.é\x7f\u202e😀'
    trace = made(tmp_path, ((odd, None, schema.DIFFERS),))
    file = tmp_path / "accept.toml"
    assert main(["check", str(trace.path), "--write-accept", str(file)]) == 1
    file.write_text(file.read_text().replace('why      = ""', 'why = "odd"'))
    assert not read(file).unused(trace) and read(file).entries[0].step == 'a"b\\c[[]0][?].*.é\x7f\u202e😀'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[accept]\n", "cannot be read as TOML"),
        ("\xff", "cannot be read as TOML"),
        ('accept = "all"\n', "each under [[accept]]"),
        ("[[other]]\n", "has 'other', where there can be [[accept]] only"),
        ('[[accept]]\nstep = "x"\n', "entry 1 has no text 'equation'"),
        (ENTRY.format("x", "y") + "more = 1\n", "entry 1 has 'more', where there are step, equation, variant, why"),
        (ENTRY.format("", "y"), "entry 1 leaves 'step' empty: name it"),
    ],
)
def test_a_malformed_file_is_one_sentence(
    trace: Trace, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "accept.toml"
    file.write_bytes(text.encode("latin-1"))
    code, told = _check(trace, capsys, "--accept", str(file))
    assert code == 2 and said in told
    assert len([line for line in told.splitlines() if line.startswith("tftrace:")]) == 1


def test_meta_says_the_kind_of_each_variant(tmp_path: Path) -> None:
    """What a recording writes: every variant of an equation of ours has its kind."""
    import torch

    norm = torch.nn.LayerNorm(8)
    with torch.no_grad(), tftrace.record(norm, tmp_path / "run.tftrace") as trace:
        norm(torch.randn(2, 8))
    variants = (tftrace.load(trace.path).equation("layer-norm") or {})["variant"]
    assert variants and {one["kind"] for one in variants} <= {"design", "mistake"}
