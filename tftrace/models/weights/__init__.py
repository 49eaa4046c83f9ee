"""How a config becomes a model with weights, and what it needs for that."""
