"""Waits for the threads that a program leaves behind, as Python does at exit."""

from __future__ import annotations

import threading

_SECONDS = 0.02


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
    from ..capture.torch_internals import current_frames, pool_queues, pool_worker

    queue, frame = pool_queues.get(thread), current_frames().get(thread.ident or 0)
    between = getattr(pool_worker, "__code__", None)  # what runs between two tasks
    return queue is not None and queue.empty() and frame is not None and frame.f_code is between
