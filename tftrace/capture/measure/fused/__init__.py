"""Statistics and token prints of a tensor on an accelerator, in one launch of a kernel by Triton."""
