"""The debugger inside a lesson: stations lead to their places, questions are answered, experiments are run."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType

from ... import describe
from ...errors import TraceError
from ...language import LANGUAGES, later, speak, spoken, tr
from ...language.retell import retold
from ...learn import lessons
from ...learn.exercise_words import told
from ...learn.questions import Answer, choice_text
from ...learn.session import LessonSession
from ...trace.trace import Trace
from ..dialogs.overlays import HelpScreen
from ..dialogs.prompt import Prompt, Question
from ..keymap import bindings
from ..paint.palette import DARK, PALETTES, style
from ..panes.equationpane import EquationPane
from ..statusline import StatusLine
from .lesson_keys import LESSON_KEYMAP
from .lesson_layout import marked
from .lesson_work import WorkingApp
from .lessonattention import LessonAttentionScreen
from .lessonpane import Feedback, LessonPane

_FIRST_KEYS = (("w", later("next station")), ("A", later("answer")), ("s", later("step")), ("?", later("keys")))


class LessonApp(WorkingApp):
    """The debugger on the run of a station.

    Args:
        session: the lesson.
        trace: the run of the station where the session is.
    """

    CSS_PATH = "../app.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings({"Lesson": LESSON_KEYMAP["Lesson"]})]
    CSS = """
    #lesson { height: 10; }
    .-narrow #stops, .-narrow #bar, .-low #stops, .-low #bar { display: none; }
    """

    def __init__(self, session: LessonSession, trace: Trace) -> None:
        super().__init__(session, trace)
        self._hints = 0
        self._ended = False

    def compose(self) -> ComposeResult:
        for widget in super().compose():
            if isinstance(widget, StatusLine):
                yield LessonPane()
            yield widget

    def begin(self) -> None:
        """Show the first screen, and the station."""
        super().begin()
        self.query_one(EquationPane).first_keys = _FIRST_KEYS
        self.show_station()

    # -- stations ----------------------------------------------------------------------------------------------

    def show_station(self) -> None:
        """Go to the place of the station, look where it says, and tell what it says."""
        session, station = self.session, self.session.station
        self.feedback, self._hints, self._ended = [], 0, False
        self.forget_search()
        position = session.position()
        if position is None:
            self.feedback = [Feedback(session.unfit(), "bad")]
        elif station.places:
            self.jump(position)
        if session.is_done and station.question is not None:
            self.feedback.append(Feedback(tr("✓ You have answered this before."), "good"))
        self._look(station.look)
        self.show_lesson()

    def _look(self, look: str) -> None:
        """Lead the eye to what the station is about."""
        gridded = self.screen.has_class("as-grid")
        if (look == "grid") != gridded:
            self.action_grid()
        self._clear_only()
        if look.startswith("substep "):
            self.query_one(EquationPane).open_substep(look.removeprefix("substep "))
            self._focus("equation")
            return self._settle()
        self.query_one(EquationPane).close_substep()
        if look in ("source", "equation", "tensors"):
            self._focus(look)
        elif look != "grid":
            self._focus("steps")
        self._settle()

    def _settle(self) -> None:
        self.call_after_refresh(lambda: self.go(self.position))

    def show_lesson(self) -> None:
        """Draw the lesson's pane, and the question where the attention maps are open."""
        session, station = self.session, self.session.station
        lesson, language = session.lesson, spoken()
        number = f"{lesson.number} " if lesson.number else ""
        title = f"{number}{lesson.title[language]} ─ {session.at + 1}/{len(lesson.stations)} {station.title[language]}"
        busy = [Feedback(self._busy[1])] if self._busy and self._busy[0] == session.at else []
        news = [*self.feedback, *busy, *self._result()]
        self.query_one(LessonPane).show(station, title, tr("✓ done") if session.is_done else "", self._offers(), news)
        if isinstance(self.screen, LessonAttentionScreen):
            self.screen.tell(self._asked())

    def _result(self) -> list[Feedback]:
        """What the experiment or the exercise of the station came to."""
        if self.session.at in self.session.judged:
            judged = self.session.judged[self.session.at][0]
            return [Feedback(one, "good" if judged.earned else "bad") for one in told(judged)]
        found = self.session.outcomes.get(self.session.at)
        if found is None:
            return []
        answers = describe.answers(self.trace, found.trace)
        return [Feedback(retold(one)) for one in (found.compared.sentence, answers) if one]

    def _offers(self) -> list[tuple[str, str]]:
        """The keys that do something at this station, with their actions."""
        session, station = self.session, self.session.station
        out = [(tr("w go on"), "station(1)")]
        if session.at:
            out.append((tr("W back"), "station(-1)"))
        if station.question is not None and station.exercise is None:
            out += [(tr("A answer"), "answer"), (tr("H hint"), "hint")]
        if station.experiment is not None:
            out.append((tr("X run the experiment"), "do"))
        if station.pair:
            out.append((tr("X side by side"), "do"))
        if station.exercise is not None:
            out += [(tr("O open the file"), "write"), (tr("X check it"), "do")]
        if session.at in session.outcomes:
            out.append((tr("V side by side"), "see"))
        if session.at in session.judged:
            out.append((tr("V your run"), "see"))
        return [*out, (tr("? keys"), "help"), (tr("q leave"), "quit")]

    def action_station(self, by: int) -> None:
        session = self.session
        if by > 0:
            self._pass()
        there = session.at + by
        if there < 0:
            return self._tell(tr("This is the first station."))
        if there >= len(session.lesson.stations):
            if self._ended and self._has_next:
                self.wanted = "next"
                return self.exit()
            self._ended = True
            return self._tell(self._end(), "good")
        before, session.at = session.station.run, there
        if session.station.run != before:
            self.wanted = "station"
            return self.exit()
        self.show_station()

    def _pass(self) -> None:
        """A station that asks nothing, or what this run cannot answer, is done when it is left."""
        if self.session.station.question is None:
            return self.session.mark()
        try:
            self.session.right_answer()
        except TraceError:
            station = self.session.station
            if station.experiment is None and station.exercise is None:
                self.session.mark()

    def _end(self) -> str:
        """What is said after the last station."""
        session = self.session
        open_ = [str(at + 1) for at in range(len(session.lesson.stations)) if at not in session.done]
        if open_:
            said = tr("This was the last station; not answered yet: {stations}.", stations=", ".join(open_))
        else:
            said = tr("✓ The lesson is done.")
        return f"{said} {tr('w goes on to the next lesson, q leaves.') if self._has_next else tr('q leaves.')}"

    @property
    def _has_next(self) -> bool:
        """Whether a lesson follows."""
        number = self.session.lesson.number
        return number > 0 and any(one.number == number + 1 for one in lessons())

    # -- questions ---------------------------------------------------------------------------------------------

    def _right(self) -> Answer | None:
        """The right answer; None, with a sentence, if there is none yet."""
        station = self.session.station
        if station.question is None:
            self._tell(tr("Nothing is asked at this station: w goes on."))
            return None
        if station.experiment is not None and self.session.at not in self.session.outcomes:
            self._tell(tr("Run the experiment first: press X."))
            return None
        try:
            return self.session.right_answer()
        except TraceError as error:
            self._tell(f"{retold(str(error))} {tr('w goes on.')}", "bad")
            return None

    def action_answer(self) -> None:
        right = self._right()
        if right is None:
            return
        if right.done is not None:
            return self._judge("")
        hint = _form(right)

        def done(text: str) -> str:
            if text.strip():
                self._judge(text)
            return ""

        self.ask(Question(tr("answer: "), hint, done, cancelled=lambda: None))

    def _judge(self, typed: str) -> None:
        """Say whether an answer is right."""
        right = self._right()
        if right is None:
            return
        question = self.session.station.question
        assert question is not None
        if self.session.try_answer(typed):
            because = f" ({right.because})" if right.because else ""
            said = tr("✓ Right: {answer}{because}.", answer=right.shown, because=because)
            return self._tell(f"{said if right.shown else tr('✓ Done.')} {tr('w goes on.')}", "good")
        wrong = tr("“{typed}” is not it.", typed=typed.strip()) if typed else tr("Not yet.")
        self._tell(f"{wrong} {question.hint[spoken()]}", "bad")

    def action_hint(self) -> None:
        question = self.session.station.question
        if question is None:
            return self._tell(tr("Nothing is asked at this station: w goes on."))
        self._hints += 1
        right = self._right() if self._hints > 1 else None
        if right is not None and right.shown:
            because = f" ({right.because})" if right.because else ""
            return self._tell(tr("The answer is {answer}{because}.", answer=right.shown, because=because))
        if self._hints == 1:
            more = tr("H once more shows the answer.") if self.session.station.exercise is None else ""
            self._tell(f"{question.hint[spoken()]} {more}".strip())

    # -- the rest ----------------------------------------------------------------------------------------------

    def _tell(self, said: str, kind: str = "") -> None:
        self.feedback = [Feedback(retold(said), kind)]
        self.show_lesson()

    def _asked(self) -> Text:
        """The question and the feedback, for the line below the attention maps."""
        palette, question = PALETTES.get(self.theme, DARK), self.session.station.question
        if self.feedback:
            looks = {"good": palette.good, "bad": palette.bad, "": palette.soft}
            return Text(" ".join(one.text for one in self.feedback), style(looks[self.feedback[0].kind], bold=True))
        if question is None:
            return Text(tr("Esc comes back to the lesson."), style(palette.soft))
        asked = f"? {question.ask[spoken()]}   `A` {tr('answer')}"
        return marked(asked, style(palette.blue, bold=True), style(palette.warm, bold=True))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A question can be answered where the attention maps are open, too."""
        if action == "answer" and isinstance(self.screen, LessonAttentionScreen):
            return True
        return super().check_action(action, parameters)

    def ask(self, question: Question, text: str = "") -> None:
        """Open the prompt of the screen on top, which may be that of the attention maps."""
        self.screen.add_class("asking")
        self.screen.query_one(Prompt).open(question, text)

    def action_attention(self) -> None:
        found = describe.attention_near(self.trace, self.position)
        if found is None:
            return super().action_attention()
        self.push_screen(LessonAttentionScreen(self.trace, found, self._asked()), self._returned)

    def action_lesson(self) -> None:
        """Make the lesson larger, or small again."""
        pane = self.query_one(LessonPane)
        pane.large = not pane.large
        self.screen.set_focus(pane if pane.large else None)
        if not pane.large:
            self._focus("steps")
        self.show_lesson()

    def action_language(self) -> None:
        before = spoken()
        super().action_language()
        if spoken() == before:
            speak(LANGUAGES[(LANGUAGES.index(before) + 1) % len(LANGUAGES)])
        self.go(self.position)
        self.show_station()

    def action_help(self) -> None:
        self.push_screen(HelpScreen(LESSON_KEYMAP))


def _form(right: Answer) -> str:
    """What is expected to be typed."""
    if right.choices:
        return " · ".join(map(choice_text, right.choices))
    if right.value is not None:
        return tr("a whole number") if right.whole else tr("a number")
    return tr("a word")
