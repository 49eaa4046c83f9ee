"""What the constructors of a model state, read from their source; nothing of it is run."""
