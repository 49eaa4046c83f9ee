"""Colours, heat maps, highlighted source code and pictures."""
