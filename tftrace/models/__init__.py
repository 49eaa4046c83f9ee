"""Turns what a user asks for into a model with inputs: `request.Request` states the wish, `load.load` fulfils it.

This file imports nothing, so that a command can declare its options without importing torch."""
