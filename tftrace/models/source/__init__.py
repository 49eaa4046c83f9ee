"""Finds the model that a user means: its location, config and class, and a readable error for what may go wrong."""
