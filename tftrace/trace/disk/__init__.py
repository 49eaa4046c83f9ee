"""Folders and files of a trace: made, replaced, told from others, read without following a link out of them."""
