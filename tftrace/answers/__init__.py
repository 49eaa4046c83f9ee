"""Answers that fit: what a run has to say, in sentences and in items of which as many are given as there is room for.

The command line and the MCP server ask here, so that both say the same."""
