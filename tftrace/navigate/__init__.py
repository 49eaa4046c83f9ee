"""Read-only questions to a trace: stepping, breakpoints, findings, the tree. Nothing here draws or runs a model."""
