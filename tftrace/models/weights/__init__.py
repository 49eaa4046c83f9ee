"""Builds the model from its config and weights, after checking device, libraries and memory."""
