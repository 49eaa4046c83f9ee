"""TeX as lines of Unicode: what the papers print comes out readable, and nothing can make it fail."""

from __future__ import annotations

import random

import pytest

from tftrace.recipes.typeset import mathtext


def drawing(tex: str, width: int | None = None) -> str:
    """The rows as the tests below write them: under one another, after an empty one."""
    return "\n" + "\n".join(mathtext.render(tex, width)) + "\n"


def test_a_fraction_is_drawn_over_several_lines() -> None:
    tex = r"\mathrm{Attention}(Q,K,V)=\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V"
    assert mathtext.render(tex) == [
        "                            ⎛ QKᵀ ⎞",
        "Attention(Q, K, V) = softmax⎜╶───╴⎟V",
        "                            ⎝ √dₖ ⎠",
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
        # names keep clear of letters, and are close to their brackets
        (r"y=\max(0,x)+a\min(0,x)", "y = max(0, x) + a min(0, x)"),
        (r"x\tanh(\log(1+e^{x}))", "x tanh(log(1 + eˣ))"),
        (r"W_2\tanh x+\cos m\theta_i+\ln2", "W₂ tanh x + cos mθᵢ + ln 2"),
        (r"x\mathrm{LN}(z)\mathrm{head}_1\otimes\sin^2(ax)", "x LN(z) head₁ ⊗ sin²(ax)"),
        # an operator with nothing before it is a sign
        (r"-x+-y=\pm z,\,-k", "-x + -y = ±z, -k"),
        (r"y=\sum_i w_iE_i(x)", "y = ∑ᵢ wᵢEᵢ(x)"),
        (r"z'_l=h''+{x_i}^2+K^\top", "z′ₗ = h′′ + xᵢ² + Kᵀ"),
        # brackets grow with fractions only, and a root over one letter needs no line
        (r"\left(\sqrt{d_k}x_i^2\right)", "(√dₖ xᵢ²)"),
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


def test_where_one_subscript_has_no_character_all_stand_on_the_row_below() -> None:
    assert (
        drawing(r"\left(\mathrm{SiLU}(xW_g)\otimes xW_u\right)W_d")
        == """
(SiLU(xW ) ⊗ xW )W
        g      u  d
"""
    )
    assert (
        drawing(r"E_{token}+E_{segment}^2")
        == """
E      + E²
 token    segment
"""
    )


def test_where_one_superscript_has_no_character_all_stand_on_the_row_above() -> None:
    assert (
        drawing(r"\mathrm{softmax}\left(\frac{QW^Q_i(KW^K_i)^T}{\sqrt{d_k}}\right)VW^V_i")
        == """
       ⎛   Q   K T ⎞
       ⎜ QWᵢ(KWᵢ)  ⎟  V
softmax⎜╶─────────╴⎟VWᵢ
       ⎝    √dₖ    ⎠
"""
    )


def test_rows_of_a_grid_are_as_high_as_what_stands_in_them() -> None:
    drawn = mathtext.render(r"\begin{matrix}c\\\frac{a}{b}\\d\end{matrix}")
    assert drawn == [" c", " a", "╶─╴", " b", " d"]


def test_what_stands_above_and_below_has_a_row_of_its_own() -> None:
    drawn = [mathtext.render(rf"\{where}set{{i}}{{M}}x") for where in ("over", "under")]
    assert drawn == [["i", "Mx"], ["Mx", "i"]]


def test_a_transpose_stands_beside_its_letter() -> None:
    assert (
        drawing(r"Q^c_i{K^r_{\delta(i,j)}}^T+K^c_j")
        == """
QᶜKʳᵀ     + Kᶜ
 i δ(i,j)    j
"""
    )


def test_scripts_of_scripts_stand_at_their_letter() -> None:
    assert (
        drawing(r"PE_{(pos,2i)}=\sin\left(pos/10000^{2i/d_{model}}\right)")
        == """
                          2i/d
                              model
PE         = sin(pos/10000         )
  (pos,2i)
"""
    )
    assert (
        drawing(r"\frac{e^{x_i}}{\sum_j e^{x_j}}+x_i")
        == """
   xᵢ
  e
╶──────╴ + xᵢ
     xⱼ
 ∑ⱼ e
"""
    )
    assert (
        drawing(r"e^{x_i/2}+x_i+b_g")  # x_i looks the same in both places
        == """
 x /2
  i
e     + x  + b
         i    g
"""
    )


def test_limits_stand_above_and_below() -> None:
    assert (
        drawing(r"b+\sum_{c,k}W_{c,k}+\max_{k,l}x")
        == """
b +  ∑  W    + max x
    c,k  c,k   k,l
"""
    )


def test_brackets_roots_and_grids_are_as_tall_as_what_they_hold() -> None:
    assert (
        drawing(r"\sqrt[3]{\frac{a}{b}}=\left\{\begin{matrix}1&x\\y^2&\end{matrix}\right\}^T_k")
        == """
 ┌───╴
 │ a
3│╶─╴  = ⎰1   x⎱ᵀ
╰┘ b     ⎱y²   ⎰ₖ
"""
    )
    assert (
        drawing(r"f(x)=\begin{cases}x&x>0\\0&\text{if not}\\?&\text{other}\end{cases}")
        == """
       ⎧x  x > 0
f(x) = ⎨0  if not
       ⎩?  other
"""
    )


def test_wide_and_combining_characters_take_their_own_cells() -> None:
    assert (
        drawing(r"\frac{\text{注意力}x}{\hat{Q}\tilde{A}}+1")
        == """
 注意力x
╶───────╴ + 1
   Q\u0302A\u0303
"""
    )


def test_what_is_too_wide_is_broken_after_an_equals_sign() -> None:
    tex = r"\mathrm{MultiHead}(Q,K,V)=\mathrm{Concat}(\mathrm{head}_1,\ldots)W^O,\quad \mathrm{head}_i=f(x=y)"
    assert mathtext.render(tex, 30) == [
        "MultiHead(Q, K, V) =",
        "  Concat(head₁, …)Wᴼ,",
        "headᵢ = f(x = y)",
    ]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["y = f(aaaa + bbbb) + g(cccc, dddd + eee)"]),
        (30, ["y = f(aaaa + bbbb)", "  + g(cccc, dddd + eee)"]),
        (21, ["y = f(aaaa + bbbb)", "  + g(cccc,", "  dddd + eee)"]),
        (10, ["y = f(aaaa", "  + bbbb)", "  + g(cccc,", "  dddd", "  + eee)"]),
    ],
)
def test_lines_break_where_the_fewest_brackets_are_torn(width: int, lines: list[str]) -> None:
    assert mathtext.render("y=f(aaaa+bbbb)+g(cccc,dddd+eee)", width) == lines


def test_scripts_of_two_lines_are_kept_apart() -> None:
    assert (
        drawing(r"x_g=1,\quad y=2,\quad y^{a/b}=3,\quad z=4,\quad z=5", 10)
        == """
x  = 1,
 g

y = 2,

 a/b
y    = 3,
z = 4,
z = 5
"""
    )


def test_no_script_is_lost() -> None:
    assert "Q" in mathtext.render("QW_i^Q")[0]
    assert mathtext.render("QW_i^Q")[-1].startswith("QWᵢ")


@pytest.mark.parametrize(
    "tex", ["", r"\frac{1}{", "{" * 400, "x" * 10_000, r"\nosuchthing{x}", "\x1b[31m", "a^b^c", "\\", "a_b_c"]
)
def test_what_cannot_be_drawn_is_shown_as_it_is(tex: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = mathtext.render(tex)
    assert len(rows) == 1
    assert len(rows[0]) <= 240
    assert "\x1b" not in rows[0]
    assert capsys.readouterr().out == ""


def test_no_tex_can_make_it_fail() -> None:
    commands = ["frac", "sqrt", "left", "right", "begin", "end", "hat", "text", "mathrm", "operatorname*", "binom"]
    commands += ["overline", "overset", "quad", "sum", "max", "\\"]
    parts = [*(f"\\{name}" for name in commands), "{matrix}", "{cases}", *"&{}[]()^_'|,+=-x注"]
    chance = random.Random(0)
    drawn = 0
    for _ in range(3000):
        tex = " ".join(chance.choices(parts, k=chance.randint(1, 12)))
        rows = mathtext.render(tex, chance.choice([None, 8, 40]))
        assert rows and all(row.isprintable() for row in rows), tex
        drawn += rows != [mathtext.plain(tex)]
    assert drawn > 300  # and not all of it is turned away
