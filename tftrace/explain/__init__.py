"""One number of a run explained, and the attention weights that a fused kernel keeps to itself."""
