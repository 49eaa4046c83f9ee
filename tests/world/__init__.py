"""Other people's libraries and programs, tiny: `pip install '.[world]'`, then `python -m pytest -m slow tests/world`.

Each is run alone and recorded: what it gives is the same to the bit, it ends cleanly, and nothing in it is ✗."""
