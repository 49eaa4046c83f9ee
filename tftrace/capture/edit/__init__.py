"""Changes what modules and functions return while a model runs, as edits say (`tftrace.edits`)."""
