"""Colours, heat maps, highlighted source and pictures."""
