"""Runs a model again with edits and without a recording: one answer against another, and sweeps of many."""
