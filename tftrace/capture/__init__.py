"""Everything that needs torch: what runs while the model runs, and changes nothing in it."""
