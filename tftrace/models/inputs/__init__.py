"""What a model is run on."""
