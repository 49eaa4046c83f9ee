"""What code that nobody names leaves out or does otherwise: remarks that are made only where something is so."""
