"""One step of a run taken out of it: its module or function, what went in, and what came out, as Python and tensors."""
