"""Which model a user means, with its config and class, and what may go wrong on the way to it."""
