"""How much the checks see: twelve mistakes planted in every model type of the suite and in models of other styles."""
