"""What a user names becomes a model with inputs: `request.Request` says what is wanted, `load.load` makes it.

Nothing is imported here, so that a command can name its options without torch."""
