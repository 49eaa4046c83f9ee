"""What a run was seen to compute: patterns on the tape of torch functions, each bound to the tensors themselves."""
