"""GPT-2 in JAX, compared with the one of transformers (pip install jax).

python examples/gpt2_in_jax.py
"""

import sys
from pathlib import Path

import jax.numpy
from gpt2_in_numpy import compare_with

if __name__ == "__main__":
    raise SystemExit(compare_with(jax.numpy, Path(__file__).stem, *map(float, sys.argv[1:])))
