"""What asks for a choice or a line of text, and what lies over everything."""
