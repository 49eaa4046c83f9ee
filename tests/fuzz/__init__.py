"""Throws damaged and forged traces at everything that reads one: `python -m tests.fuzz --inputs 100000`."""
