"""Papers' equations as data: the recipe format, its formula language, and the evaluation of formulas."""
