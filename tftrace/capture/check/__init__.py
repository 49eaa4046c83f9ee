"""Checks equations while the model runs: reads cells, judges them, and turns them into verdicts."""
