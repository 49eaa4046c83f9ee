"""What is done to a whole trace: described, merged, pruned, queried."""
