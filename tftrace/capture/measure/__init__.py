"""Tensors measured: statistics, identity, what is kept whole."""
