"""The TeX of an equation and its formula say the same: what only one of them has is found, with its place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tftrace.recipes.format.library import library, shipped
from tftrace.recipes.format.lint import lint
from tftrace.recipes.format.recipe import parse
from tftrace.recipes.format.tex_agreement import agree
from tftrace.recipes.typeset.tex_names import named


@pytest.mark.parametrize("equation", shipped(), ids=lambda e: e.id)
def test_what_ships_agrees(equation: Any) -> None:
    assert agree(equation) == []


# Ways to let them part: the equation, what is changed in it, and what is said.
PLANTED: list[tuple[str, dict[str, Any], str]] = [
    ("attention", {"formula": "P = softmax(Q @ T(K) + mask(M)); out = P @ V"}, r"the TeX shows \sqrt, which"),
    ("attention", {"tex": r"\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)"}, "the formula uses 'V', which"),
    ("vit-head", {"tex": r"y=\mathrm{LN}(z_L^0)"}, "the formula uses 'W', which the TeX does not name"),
    ("vit-head", {"formula": "y = z[T=0]; out = y @ T(W) + b"}, r"the TeX shows \mathrm{LN}, which"),
    ("instance-norm", {"tex": r"y=\frac{x-\mu_c}{\sqrt{\sigma_c^2+\epsilon}}"}, r"the TeX has no \gamma_c."),
    ("gpt2-head", {"tex": r"P(u)=\mathrm{softmax}(h_nW_e^T)"}, r"the TeX shows \mathrm{softmax}, which"),
    ("mamba-mixer", {"tex": r"h_t=e^{\Delta_tA}h_{t-1}+\Delta_tB_tx_t,\quad o_t=C_th_t+Dx_t"}, "the TeX has no z_t."),
    ("bert-multi-head", {"covers": "", "tex": r"\mathrm{Concat}(\mathrm{head}_1)W^O"}, "the TeX names W^O, which"),
    ("gated-mlp", {"covers": ""}, "the TeX names W_d, which the formula neither binds nor derives"),
    ("layer-norm", {"tex": r"y=\frac{x-\mathrm{E}[x]}{\sqrt{\mathrm{Var}[x]+\epsilon}}\cdot\gamma"}, "has no \\beta."),
    ("clip-logits", {"signs": {"t": "T_e", "i": "I_e"}}, r"the TeX names \tau, which"),
    ("rms-norm", {"signs": {"g": r"\gamma", "e": r"\epsilon", "q": "x"}}, "the formula has no 'q' that could be"),
    ("t5-attention", {"aside": ["M", "V"]}, "'V' is what the TeX shows: leave it out."),
    ("transformer-head", {"tex": r"\mathrm{logits}=h\,F^T+b"}, "the TeX has no E."),
    ("llama-ffn", {"tex": r"\mathrm{FFN}(x)=\left(\mathrm{act}(xW_g)\otimes xW_u\right)W_x"}, "uses 'Wd', which"),
]


@pytest.mark.parametrize(("name", "changes", "sentence"), PLANTED, ids=[f"{p[0]}-{n}" for n, p in enumerate(PLANTED)])
def test_what_is_planted_is_found(name: str, changes: dict[str, Any], sentence: str) -> None:
    data = copy.deepcopy(dict(library().equations[name].data)) | changes
    found = agree(parse(data | {"variant": []}, "planted.toml"))
    assert any(sentence in mistake.message for mistake in found), found


def test_a_mismatch_has_its_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        "[[equation]]\nid = 'e'\ncite = 'c'\ntex = 'y=xA+c'\nformula = 'x @ A + b'\nsigns = { A = 'B' }\n"
        "dims = { x = '* I', A = 'I O', b = 'O', out = '* O' }\n"
        "bind = [{ class = 'A', x = 'arg:x', A = 'param:a', b = 'param:b', out = 'return' }]\n"
    )
    assert [(f.line, f.column, f.message.split(":")[0]) for f in lint(file)] == [
        (4, 11, "the TeX names A, which the formula neither binds nor derives"),
        (4, 13, "the TeX names c, which the formula neither binds nor derives"),
        (5, 16, "the formula uses 'A', which the TeX does not name"),
        (5, 20, "the formula uses 'b', which the TeX does not name"),
        (6, 16, "the TeX has no B."),
    ]


@pytest.mark.parametrize(
    ("tex", "names"),
    [
        (r"QK^T", ["Q", "K^T"]),
        (r"\frac{x_i}{\sqrt{d_k}}", ["x_i", r"\sqrt", "d_k"]),
        (r"\mathrm{head}_1", [r"\mathrm{head}_1"]),
        (r"e^{x}", ["x"]),  # the number e, and what is in its exponent
        (r"10000^{2i/d_{model}}", ["i", "d_model"]),
        (r"\sum_{j} x_j^2", ["x_j^2"]),
        (r"\hat{z}^{l}+\text{unless}", [r"\hat{z}^l"]),
        (r"{K^c_j}^T", ["K_j^c"]),
    ],
)
def test_names_in_tex(tex: str, names: list[str]) -> None:
    found = [n.base + (f"_{n.low}" if n.low else "") + (f"^{n.high}" if n.high else "") for n in named(tex)]
    assert [name.replace("{model}", "model") for name in found] == names
