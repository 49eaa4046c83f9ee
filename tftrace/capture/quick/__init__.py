"""Puts together what watches a recording, before its block is entered."""
