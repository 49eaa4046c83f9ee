"""The screen of lessons: the debugger with the lesson's station below its panes."""
