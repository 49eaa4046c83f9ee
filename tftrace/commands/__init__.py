"""The commands of `tftrace`, one per file, found by file name and imported only when needed.

To add the command `tftrace NAME`, write `tftrace/commands/NAME.py` with a function `NAME`. Its signature declares the
arguments and options, its docstring is the help, and an underscore in its name becomes a dash. No list needs to be
updated. Files whose names begin with an underscore are no commands; `_shared.py` has what several commands share.
Import torch, transformers, pandas and Textual inside functions only, since `tftrace --help` imports every file here.
For a user's mistake raise `TraceError`, which `cli.main` prints as one sentence; print messages beside the result with
`terminal.say`, and the result itself with the rest of `terminal`."""
