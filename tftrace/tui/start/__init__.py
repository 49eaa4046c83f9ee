"""What `tftrace` alone opens: where to begin, and what was opened lately."""
