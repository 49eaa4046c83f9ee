"""The runs of lessons for tests: each is recorded once, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from tftrace.cli import main
from tftrace.learn.lesson_runs import Recording


class Recorded:
    """Records what lessons ask for, and remembers where it is."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, dict[Recording, Path]()
        self._count = 0

    def __call__(self, recording: Recording) -> Path:
        key = Recording(recording.words, None if recording.config is None else _Frozen(recording.config))
        if key in self._known and recording.words[0] != "run":
            return self._known[key]
        self._count += 1
        made, words = self._folder / f"{self._count}.tftrace", list(recording.words)
        if recording.config is not None:
            file = self._folder / f"{self._count}.json"
            file.write_text(json.dumps(dict(recording.config)))
            words = [str(file) if word == "{config}" else word for word in words]
        at = 1 if words[0] == "run" else len(words)
        words = [*words[:at], "-o", str(made), *words[at:]]
        if words[0] == "run" and threading.current_thread() is not threading.main_thread():  # it waits for threads
            subprocess.run([sys.executable, "-m", "tftrace", *words], capture_output=True, check=False)
            return made
        with suppress(SystemExit):  # with which `tftrace run` ends
            main(words)
        self._known[key] = made
        return made


class _Frozen(dict[str, object]):
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))
