"""The panes of the screen, and what they have in common."""
