"""What recording costs in time, memory and disk: `make bench`. See README.md beside this file."""
