"""Stops a recorded program at a step, in a debugger."""
