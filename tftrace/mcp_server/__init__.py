"""A server for programs that debug models: the questions of the command line as tools of the Model Context Protocol.

Nothing here runs a model but the tool `record`, in a process of its own; no path leads out of the server's folder."""
