"""Changes one place of the package at a time and runs the tests that go there: `python -m tests.mutate --count 100`."""
