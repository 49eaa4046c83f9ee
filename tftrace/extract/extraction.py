"""What is taken out of a run and written, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Extraction:
    """What is to be written.

    Attributes:
        title: What the step is, in one line.
        verdicts: What the run came to: the verdict of each equation, and NaN or Inf, in sentences.
        fails: Whether the test fails, as the run did.
        sizes: The bytes of inputs, weights, results and answers.
        notes: What could not be taken along, and what is not compared, in sentences.
        files: The text of each file, by its name; the tensors are not among them.
        tensors: What the file of tensors holds, by name.
        from_kept: Whether the values are those that the trace kept, rather than of a second run.
    """

    title: str
    verdicts: list[str] = field(default_factory=list)
    fails: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Any] = field(default_factory=dict)
    from_kept: bool = False

    @property
    def nbytes(self) -> int:
        """How many bytes will be written."""
        return sum(self.sizes.values())
