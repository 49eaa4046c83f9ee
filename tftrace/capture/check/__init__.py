"""Equations checked while the model runs: cells read, judged, and turned into verdicts."""
