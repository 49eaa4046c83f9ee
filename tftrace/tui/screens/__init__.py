"""Screens on top of the panes: attention maps, values, and the derivation of a cell."""
