"""What the key `P` writes: the screen, an attention map, or a step's card, as SVG, PNG or HTML."""
