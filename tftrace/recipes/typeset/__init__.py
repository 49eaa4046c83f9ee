"""Draws equations in a terminal."""
