"""A table of results for the console and, between markers that name it, for a Markdown file."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.table import Table

# The most that is allowed; the unit follows from where the figure stands. docs/performance.md names the same.
TARGETS: dict[tuple[str, ...], float] = {
    ("bert-base", "tftrace modules"): 1.05,
    ("bert-base", "tftrace lines"): 1.1,
    ("bert-small", "tftrace modules"): 1.4,
    ("bert-small", "tftrace functions"): 2.0,
    ("bert-small", "tftrace lines"): 2.5,
    ("bert-small", "tftrace ops"): 4.5,
    ("bert-base", "checks"): 1.05,
    ("once", "tftrace modules"): 2.5,
    ("once", "tftrace lines"): 4.0,
    ("first", "ms of --when"): 1.0,
    ("first", "demo"): 1.15,
    ("gpt2-four", "modules", "time"): 1.3,
    ("gpt2-four", "lines", "time"): 2.2,
    ("gpt2", "modules", "time"): 1.12,
    ("gpt2", "lines", "time"): 1.5,
    ("gpt2", "modules", "MB on disk"): 10.0,
    ("gpt2", "modules", "MB in memory"): 60.0,
    ("screen", "first paint"): 1.5,
    ("screen", "ms a key"): 50.0,
    ("screen", "MB in memory"): 500.0,
}

_PACKAGES = ("tftrace", "torch", "transformers", "torchlens", "nnsight")


@dataclass
class Results:
    """The results of one benchmark."""

    name: str  # of the markers
    title: str
    columns: Sequence[str]
    texts: int = 2  # columns at the left that hold words
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self) -> None:
        """Print the table."""
        console = Console()
        console.width = max(console.width, 120)  # also where the output is no terminal
        table = Table(title=self.title, title_justify="left")
        for at, column in enumerate(self.columns):
            table.add_column(column, justify="left" if at < self.texts else "right", overflow="fold")
        for row, following in zip(self.rows, [*self.rows[1:], self.rows[-1]], strict=True):
            table.add_row(*row, end_section=row[0] != following[0])
        console.print(table)
        for note in (*self.notes, circumstances()):
            console.print(note, style="dim", highlight=False)
        console.print()

    def markdown(self) -> str:
        """The table, what was noted, and on what it was measured."""
        sides = ["---" if at < self.texts else "---:" for at in range(len(self.columns))]
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, sides, *self.rows)]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes), f"\n{circumstances()}"])

    def write(self, file: Path) -> None:
        """Put the results between their markers in the file, or at its end where it has none."""
        begin, end = f"<!-- results: {self.name} -->", f"<!-- end: {self.name} -->"
        text = file.read_text(encoding="utf-8") if file.exists() else "# Performance\n"
        if begin not in text or end not in text:
            text = f"{text.rstrip()}\n\n## {self.title}\n\n{begin}\n{end}\n"
        head, rest = text.split(begin, 1)
        tail = rest.split(end, 1)[1]
        file.write_text(f"{head}{begin}\n{self.markdown()}\n{end}{tail}", encoding="utf-8")

    def deliver(self, file: Path | None) -> None:
        """Print, and write where a file is named."""
        self.show()
        if file is not None:
            self.write(file)


def against(figure: float, target: float | None) -> str:
    """What a table says about a target."""
    if target is None:
        return ""
    return f"≤ {target:g} {'✓' if figure <= target else '✗'}"


def ratio(figure: float) -> str:
    """A ratio with as many digits as it deserves."""
    return f"{figure:.2f}" if figure < 10 else f"{figure:.0f}"


def circumstances() -> str:
    """Date, processor and versions."""
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return f"Measured on {datetime.date.today()}, {_processor()}, one thread; {', '.join(found)}."


def _processor() -> str:
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name} ({os.cpu_count()} cores)"


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the table between its markers")
    return parser
