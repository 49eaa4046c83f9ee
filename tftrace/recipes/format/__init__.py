"""Recipe files: read, checked, and matched to the steps that they describe."""
