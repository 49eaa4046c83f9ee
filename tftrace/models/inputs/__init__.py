"""Makes the inputs that a model is run on."""
