"""Dialogs: the help, the prompt, and a choice of steps."""
