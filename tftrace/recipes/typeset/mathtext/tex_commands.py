"""The commands of TeX: the character or name that each stands for, and how it is spaced."""

from __future__ import annotations

# What a sign is to its neighbours, in the terms of TeX: this decides where spaces go. A name is spaced like a function,
# except that a plus after it is an operator.
ORDINARY, FUNCTION, NAME, OPERATOR, RELATION = "ordinary", "function", "name", "operator", "relation"
OPENING, CLOSING, PUNCTUATION, INNER = "opening", "closing", "punctuation", "inner"

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π", "varpi": "ϖ", "rho": "ρ", "varrho": "ϱ", "sigma": "σ", "varsigma": "ς", "tau": "τ", "upsilon": "υ",
    "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ",
    "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_LETTERS = {
    "ell": "ℓ", "infty": "∞", "partial": "∂", "nabla": "∇", "hbar": "ℏ", "Re": "ℜ", "Im": "ℑ", "aleph": "ℵ",
    "top": "⊤", "bot": "⊥", "intercal": "⊺", "emptyset": "∅", "varnothing": "∅", "forall": "∀", "exists": "∃",
    "neg": "¬", "prime": "′", "angle": "∠", "degree": "°", "dagger": "†", "square": "□", "Vert": "‖", "|": "‖",
    "vert": "|", "backslash": "∖", "imath": "ı", "jmath": "ȷ", "&": "&", "%": "%", "#": "#", "$": "$", "_": "_",
}  # fmt: skip
_OPERATORS = {
    "pm": "±", "mp": "∓", "times": "×", "div": "÷", "cdot": "⋅", "ast": "*", "star": "⋆", "circ": "∘", "bullet": "∙",
    "oplus": "⊕", "ominus": "⊖", "otimes": "⊗", "oslash": "⊘", "odot": "⊙", "cap": "∩", "cup": "∪", "vee": "∨",
    "lor": "∨", "wedge": "∧", "land": "∧", "setminus": "∖", "sqcup": "⊔", "uplus": "⊎",
}  # fmt: skip
_RELATIONS = {
    "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "ne": "≠", "neq": "≠", "ll": "≪",
    "gg": "≫", "lt": "<", "gt": ">", "approx": "≈", "sim": "∼", "simeq": "≃", "cong": "≅", "equiv": "≡", "propto": "∝",
    "in": "∈", "ni": "∋", "notin": "∉", "subset": "⊂", "supset": "⊃", "subseteq": "⊆", "supseteq": "⊇", "mid": "∣",
    "parallel": "∥", "perp": "⊥", "to": "→", "rightarrow": "→", "longrightarrow": "→", "leftarrow": "←", "gets": "←",
    "leftrightarrow": "↔", "Rightarrow": "⇒", "implies": "⇒", "Leftarrow": "⇐", "Leftrightarrow": "⇔", "iff": "⇔",
    "mapsto": "↦", "colon": ":", "coloneqq": "≔", "triangleq": "≜", "doteq": "≐",
}  # fmt: skip
_BRACKETS = {
    OPENING: {"{": "{", "lbrace": "{", "lbrack": "[", "lVert": "‖", "lvert": "|", "langle": "⟨", "lfloor": "⌊",
              "lceil": "⌈"},
    CLOSING: {"}": "}", "rbrace": "}", "rbrack": "]", "rVert": "‖", "rvert": "|", "rangle": "⟩", "rfloor": "⌋",
              "rceil": "⌉"},
}  # fmt: skip
_DOTS = {"ldots": "…", "dots": "…", "dotsc": "…", "cdots": "⋯", "dotsb": "⋯", "vdots": "⋮", "ddots": "⋱"}
_LARGE = {
    "sum": "∑", "prod": "∏", "coprod": "∐", "int": "∫", "iint": "∬", "oint": "∮", "bigcup": "⋃", "bigcap": "⋂",
    "bigoplus": "⨁", "bigotimes": "⨂", "bigodot": "⨀", "bigvee": "⋁", "bigwedge": "⋀",
}  # fmt: skip
_FUNCTIONS = (
    "arccos arcsin arctan arg argmax argmin cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup "
    "ln log max min Pr sec sin sinh sup tan tanh"
)
_CHARACTERS = {
    RELATION: "=<>≤≥≠≈≡∼∝∈∉⊂⊆→←⇒⇔:",
    OPERATOR: "+-−*±×÷⋅·∘⊕⊗⊙∩∪",
    OPENING: "([{⟨⌊⌈",
    CLOSING: ")]}⟩⌋⌉!",
    PUNCTUATION: ",;",
    INNER: "…⋯",
}

# A command or a character -> the text it draws, and what that is to its neighbours.
SIGNS: dict[str, tuple[str, str]] = {
    **{f"\\{name}": (char, ORDINARY) for name, char in (_GREEK | _LETTERS).items()},
    **{f"\\{name}": (char, OPERATOR) for name, char in _OPERATORS.items()},
    **{f"\\{name}": (char, RELATION) for name, char in _RELATIONS.items()},
    **{f"\\{name}": (char, kind) for kind, names in _BRACKETS.items() for name, char in names.items()},
    **{f"\\{name}": (char, INNER) for name, char in _DOTS.items()},
    **{f"\\{name}": (char, FUNCTION) for name, char in _LARGE.items()},
    **{f"\\{name}": (name, FUNCTION) for name in _FUNCTIONS.split()},
    **{char: (char, kind) for kind, chars in _CHARACTERS.items() for char in chars},
}
LIMITS = {*_LARGE.values(), "argmax", "argmin", "det", "gcd", "inf", "lim", "liminf", "limsup", "max", "min", "sup"}
GAPS = {
    r"\,": 1, r"\:": 1, r"\;": 1, r"\ ": 1, "~": 1, r"\>": 1, r"\space": 1, r"\!": 0, r"\enspace": 1, r"\quad": 3,
    r"\qquad": 5,
}  # fmt: skip
QUAD = 3  # cells of a gap between two equations
ACCENTS = {
    r"\hat": "\u0302", r"\widehat": "\u0302", r"\tilde": "\u0303", r"\widetilde": "\u0303", r"\bar": "\u0304",
    r"\dot": "\u0307", r"\ddot": "\u0308", r"\vec": "\u20d7", r"\check": "\u030c", r"\breve": "\u0306",
    r"\acute": "\u0301", r"\grave": "\u0300", r"\mathring": "\u030a",
}  # fmt: skip
OVER = {"\u0302": "^", "\u0303": "~", "\u20d7": "→"}  # drawn over several letters; the other accents become a line
NAMED = {r"\mathrm", r"\operatorname", r"\mathsf", r"\mathtt", r"\mathbf", r"\mathit", r"\textsc"}
WORDS = {r"\text", r"\textrm", r"\textbf", r"\textit", r"\textsf", r"\texttt", r"\mbox", r"\hbox"}
ALPHABETS = {r"\boldsymbol", r"\bm", r"\pmb", r"\mathnormal", r"\mathbb", r"\mathcal", r"\mathscr", r"\mathfrak"}
DOUBLE = dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True))
NOTHING = {
    r"\displaystyle", r"\textstyle", r"\scriptstyle", r"\limits", r"\nolimits", r"\big", r"\Big", r"\bigg", r"\Bigg",
    r"\bigl", r"\bigr", r"\Bigl", r"\Bigr", r"\biggl", r"\biggr", r"\Biggl", r"\Biggr", r"\bigm", r"\nonumber",
    r"\notag", r"\rm", r"\bf", r"\it", r"\cal",
}  # fmt: skip
