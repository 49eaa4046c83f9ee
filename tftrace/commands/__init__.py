"""The commands of `tftrace`, one a file, found by their names and imported only when they are needed.

To add the command `tftrace NAME`, write `tftrace/commands/NAME.py` with a function `NAME` in it: its signature is the
command's arguments and options, its docstring the help (an underscore in the name is a dash in the command's). There is
no list to enter it in. A file whose name begins with an underscore is no command; `_shared.py` holds the options that
several have. Torch, transformers, pandas and Textual are imported inside functions only, since `tftrace --help` imports
every file here. A mistake of the user raises `TraceError`, which `cli.main` prints as one sentence; what is said beside
the result goes through `terminal.say`, and the result itself through the rest of `terminal`."""
