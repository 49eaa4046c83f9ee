"""Pure readings of a trace: stepping, breakpoints, findings, the tree. Nothing here draws or runs a model."""
