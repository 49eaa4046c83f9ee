"""The kinds of questions: a small, closed vocabulary of functions from a trace to the right answer."""

from .asked import Asked
from .asking import answer, read_question
from .kinds import KINDS, Kind
from .right_answer import Answer, choice_text

__all__ = ["KINDS", "Answer", "Asked", "Kind", "answer", "choice_text", "read_question"]
