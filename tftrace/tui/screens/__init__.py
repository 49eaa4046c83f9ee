"""Screens that lie over the panes: attention maps, values, the derivation of a cell."""
