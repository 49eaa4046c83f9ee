"""Waits for the threads that a program leaves behind, as Python does at exit."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import thread as pools
from typing import Any

_SECONDS = 0.02
_queues: Any = getattr(pools, "_threads_queues", {})  # worker thread of a pool -> its queue of tasks
_work: Any = getattr(getattr(pools, "_worker", None), "__code__", None)  # the loop of a worker, on top between tasks


def wait_for_threads() -> None:
    """Wait until other threads have finished their work.

    The workers of a pool that was not shut down wait for tasks forever. At exit, Python closes every pool; we cannot,
    since the caller may still need them, so an idle worker counts as finished."""
    for thread in threading.enumerate():
        idle = thread is threading.current_thread() or thread.daemon
        while thread.is_alive() and not idle:
            before = _idle(thread)
            thread.join(_SECONDS)
            idle = before and _idle(thread)  # ask twice, as it may just have taken a task


def _idle(thread: threading.Thread) -> bool:
    """Whether a thread belongs to a pool and has nothing to do."""
    tasks = getattr(thread, "pending_work_items", None)  # of the thread that manages a pool of processes
    if tasks is not None:
        return not tasks
    queue, frame = _queues.get(thread), sys._current_frames().get(thread.ident or 0)
    return queue is not None and queue.empty() and frame is not None and frame.f_code is _work
