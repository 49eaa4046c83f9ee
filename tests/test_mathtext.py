"""TeX as lines of Unicode: what the papers print comes out readable, and nothing can make it fail."""

from __future__ import annotations

import pytest

from tftrace.recipes import mathtext


def test_a_fraction_is_drawn_over_several_lines() -> None:
    tex = r"\mathrm{Attention}(Q,K,V)=\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V"
    assert mathtext.render(tex) == [
        "                            ⎛  QKᵀ  ⎞",
        "Attention(Q, K, V) = softmax⎜╶─────╴⎟V",
        "                            ⎜  ┌──╴ ⎟",
        "                            ⎝ ╰┘dₖ  ⎠",
    ]


@pytest.mark.parametrize(
    ("tex", "line"),
    [
        (r"\mathrm{LayerNorm}(x+\mathrm{Sublayer}(x))", "LayerNorm(x + Sublayer(x))"),
        (r"\mathrm{FFN}(x)=\max(0,xW_1+b_1)W_2+b_2", "FFN(x) = max(0, xW₁ + b₁)W₂ + b₂"),
        (
            r"\mathrm{MultiHead}(Q,K,V)=\mathrm{Concat}(\mathrm{head}_1,\ldots,\mathrm{head}_h)W^O",
            "MultiHead(Q, K, V) = Concat(head₁, …, headₕ)Wᴼ",
        ),
        (r"h_0=UW_e+W_p", "h₀ = UWₑ + Wₚ"),
        (r"P(u)=\mathrm{softmax}(h_nW_e^T)", "P(u) = softmax(hₙWₑᵀ)"),
        (r"\hat{y}", "y\u0302"),
        (r"x_{l+1}", "xₗ₊₁"),
        (r"\operatorname{softmax}(-x)", "softmax(-x)"),
    ],
)
def test_what_fits_on_one_line_stays_on_one(tex: str, line: str) -> None:
    assert [row.replace("ŷ", "y\u0302") for row in mathtext.render(tex)] == [line]


@pytest.mark.parametrize(
    "tex",
    [
        r"PE_{(pos,2i)}=\sin\left(pos/10000^{2i/d_{model}}\right)",
        r"y=\frac{x-\mathrm{E}[x]}{\sqrt{\mathrm{Var}[x]+\epsilon}}\cdot\gamma+\beta",
        r"\mathrm{GELU}(x)=x\cdot\frac{1}{2}\left[1+\mathrm{erf}\left(\frac{x}{\sqrt{2}}\right)\right]",
        r"0.5x\left(1+\tanh\left[\sqrt{2/\pi}\left(x+0.044715x^3\right)\right]\right)",
        r"\frac{x}{\sqrt{\frac{1}{n}\sum_{i=1}^{n}x_i^2+\epsilon}}\odot g",
    ],
)
def test_larger_equations_are_drawn(tex: str) -> None:
    rows = mathtext.render(tex)
    assert len(rows) > 1
    assert not any("\\" in row or "?" in row for row in rows)


def test_what_is_too_wide_is_broken_after_an_equals_sign() -> None:
    tex = r"\mathrm{MultiHead}(Q,K,V)=\mathrm{Concat}(\mathrm{head}_1,\ldots)W^O,\quad \mathrm{head}_i=f(x=y)"
    assert mathtext.render(tex, 30) == [
        "MultiHead(Q, K, V) =",
        "  Concat(head₁, …)Wᴼ,",
        "headᵢ = f(x = y)",
    ]


def test_no_script_is_lost() -> None:
    assert "Q" in mathtext.render("QW_i^Q")[0]
    assert mathtext.render("QW_i^Q")[-1].startswith("QWᵢ")


@pytest.mark.parametrize(
    "tex", ["", r"\frac{1}{", "{" * 400, "x" * 10_000, r"\nosuchthing{x}", "\x1b[31m", "a^b^c", "\\"]
)
def test_what_cannot_be_drawn_is_shown_as_it_is(tex: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = mathtext.render(tex)
    assert len(rows) == 1
    assert len(rows[0]) <= 240
    assert "\x1b" not in rows[0]
    assert capsys.readouterr().out == ""
