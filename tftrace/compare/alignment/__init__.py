"""Which tensors of two runs belong together: by the code that made them, else by their numbers; and token by token."""
