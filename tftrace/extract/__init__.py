"""One step of a run as a test that runs alone: its code, inputs, weights, result and float64 answer in a folder."""
