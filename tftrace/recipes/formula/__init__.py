"""The formula language: its grammar, its functions, and named dimensions."""
