"""The help of the command line in the language spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..language import later, spoken, tr

if TYPE_CHECKING:  # what formats help is not imported for a command that runs
    from cyclopts.help import DefaultFormatter, HelpEntry, HelpPanel

EPILOGUE = later("Every command takes --lang en or --lang zh; without it, LANGUAGE, LC_ALL and LANG are asked.")
_CYCLOPTS = (
    later("Commands"),
    later("Parameters"),
    later("Display this message and exit."),
    later("Display application version."),
)


class Formatter:
    """As cyclopts formats help, with each paragraph of a docstring looked up in the catalogue."""

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        if spoken() != "en":
            panel = panel.copy(title=tr(str(panel.title)), entries=[_entry(entry) for entry in panel.entries])
        _plain()(console, options, panel)

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """Print the line of usage."""
        if spoken() == "en" or not usage:
            return _plain().render_usage(console, options, usage)
        console.print(
            tr("Usage: {usage}", usage=str(usage).removeprefix("Usage:").strip()) + "\n", style="bold", markup=False
        )

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Print what a command does."""
        if spoken() == "en" or not (paragraphs := _said(description)):
            return _plain().render_description(console, options, description)
        console.print("\n\n".join(map(tr, paragraphs)), "", sep="\n", markup=False, highlight=False)


def _plain() -> DefaultFormatter:
    from cyclopts.help import DefaultFormatter

    return DefaultFormatter()


def _entry(entry: HelpEntry) -> HelpEntry:
    parts = ["\n\n".join(map(tr, _said(entry.description)))]
    parts += [tr("[choices: {choices}]", choices=", ".join(entry.choices))] if entry.choices else []
    parts += [tr("[default: {value}]", value=entry.default)] if entry.default is not None else []
    parts += [tr("[required]")] if entry.required else []
    said: HelpEntry = entry.copy(description=" ".join(parts), choices=None, default=None, required=False)
    return said


def _said(description: Any) -> list[str]:
    """The paragraphs of a docstring's text, each on one line, as the catalogue has them."""
    source = getattr(description, "primary_renderable", description)
    text = getattr(source, "markup", None) or getattr(source, "plain", None) or str(source or "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip()]
