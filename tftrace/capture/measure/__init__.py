"""Measures tensors: their statistics, identity and token prints; and keeps some whole."""
