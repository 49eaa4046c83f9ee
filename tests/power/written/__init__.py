"""Twelve models as people write them, each in a style of its own; `plants` says where mistakes go into their text."""
