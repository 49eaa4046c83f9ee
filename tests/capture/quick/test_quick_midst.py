"""What strikes the compiled core in the midst of a step: an interrupt, or another thread."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

import tftrace
from tftrace.capture.measure.identity import Identities
from tftrace.capture.measure.token_prints import TokenPrints
from tftrace.capture.quick import quick_calls
from tftrace.capture.watch.lines import _Body

from ...support.bits import hooks
from ...support.compiled import compiled_part
from .test_quick_calls import Outer, Patch, X, names

pytestmark = pytest.mark.skipif(compiled_part(quick_calls) is None, reason="there was no compiler")


@pytest.mark.parametrize("where", ["a form", "a mode"])
def test_an_interrupt_before_python_would_try_again_is_not_lost(where: str, monkeypatch: Patch) -> None:
    model, armed = Outer().eval(), False
    of, name = (Identities, "form") if where == "a form" else (quick_calls, "count_dispatch_modes")
    asked = getattr(of, name)

    def interrupted(*given: Any) -> Any:
        if armed:
            raise KeyboardInterrupt
        return asked(*given)

    monkeypatch.setattr(of, name, interrupted)
    with tftrace.record(model, level="modules") as trace:
        model(X)
        armed = True
        with pytest.raises(KeyboardInterrupt):
            model(X[:1])
        armed = False
        model(X)
    assert trace.meta["complete"] and trace.meta.get("failure") is None and not hooks(model)


def test_a_list_that_loses_its_tensors_while_they_are_seen(monkeypatch: Patch) -> None:
    given, model = [torch.ones(2, 3, dtype=torch.float16), torch.ones(3, 5)], Outer().eval()
    form, keep, alive = Identities.form, TokenPrints.keep, list[Any]()

    def emptied(self: Any, tensor: torch.Tensor) -> Any:
        if given and tensor is given[0]:
            alive.append(weakref.ref(tensor))
            given.clear()  # as another thread may
        return form(self, tensor)

    def kept(self: Any, record: Any, tensor: torch.Tensor, *rest: Any) -> None:
        if tensor.dtype is torch.float16:
            assert alive[0]() is tensor
        keep(self, record, tensor, *rest)

    monkeypatch.setattr(TokenPrints, "keep", kept)
    monkeypatch.setattr(Identities, "form", emptied)
    model.net.forward = lambda x, y: model.net.second(x, y)
    model.net.second.forward = lambda x, y: x
    model.__dict__["forward"] = lambda x, y: model.net(x, y)
    with tftrace.record(model, level="modules", values="none") as trace:
        model(X, []), model(X, given)
    assert alive and trace.meta.get("failure") is None and ("net", "returned") in names(trace)


def test_a_line_that_an_interrupt_kept_from_beginning_has_no_end(monkeypatch: Patch) -> None:
    line, done = _Body.line, list[int]()

    def lost(self: _Body, frame: Any) -> None:
        if not done and self._step is not None:
            self._step = None  # as if the interrupt had come just before it was set
            done.append(frame.f_lineno)
        line(self, frame)

    monkeypatch.setattr(_Body, "line", lost)
    with tftrace.record(model := Outer().eval(), level="lines") as trace:
        model(X), model(X)
    assert done and trace.meta.get("failure") is None
