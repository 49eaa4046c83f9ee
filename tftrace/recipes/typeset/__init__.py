"""Equations as a terminal shows them."""
