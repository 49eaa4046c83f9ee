"""Equations over whole numbers have a bound of zero, which is no number to divide by."""

import torch

import tftrace


def test_an_equation_over_whole_numbers_holds_exactly() -> None:
    model = torch.nn.Sequential(torch.nn.Identity())
    with tftrace.record(model) as trace:
        model(torch.arange(6))
    (row,) = (row for row in trace.checks.to_pylist() if row["equation"] == "identity")
    assert (row["verdict"], row["residual"], row["bound"]) == ("holds", 0.0, 0.0)
