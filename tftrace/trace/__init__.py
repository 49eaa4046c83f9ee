"""The trace, the waist of the hour-glass: its format, and how it is written and read without torch."""
