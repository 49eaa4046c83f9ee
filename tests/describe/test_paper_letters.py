"""The letters of a paper in the list of tensors, and scripts that stand where a paper has them."""

from __future__ import annotations

from tftrace.describe.paper_letters import letter, letters
from tftrace.recipes.typeset import mathtext


def test_a_symbol_is_written_as_its_paper_does() -> None:
    signs = {"W": "W^O", "w": "E_{token}", "W1": "W_1", "q": "W^Q", "g": r"\gamma", "z": r"\mathrm{head}"}
    assert [letter(sign) for sign in signs.values()] == ["Wᴼ", "E_token", "W₁", "W^Q", "γ", "head"]
    assert letter(r"\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)") == ""  # an expression has no letter


def test_only_what_the_equation_shows_has_a_letter() -> None:
    tex = r"x=\mathrm{LayerNorm}(E_{token}+E_{segment}+E_{position})"
    spelling = {"w": "E_{token}", "t": "E_{segment}", "p": "E_{position}", "g": "g", "out": "x"}
    assert letters(tex, spelling) == {"w": "E_token", "t": "E_segment", "p": "E_position", "out": "x"}
    # an expression among the symbols takes no letter from the others
    attention = r"\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V"
    signs = {"Q": "Q", "K": "K", "V": "V", "P": r"\mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)"}
    assert set(letters(attention, signs)) == {"Q", "K", "V"}


def test_scripts_of_one_kind_stand_in_one_row() -> None:
    assert mathtext.render(r"E_{token}+E_{segment}") == ["E      + E", " token    segment"]
    assert mathtext.render(r"Q=XW^Q\quad K=XW^K\quad V=XW^V") == [
        "      Q         K         V",
        "Q = XW    K = XW    V = XW",
    ]
    assert len(mathtext.render(r"y_t=W_{i_t}")) == 2
