"""GPT-2 continues a story: each token is a forward pass, from the second one on with the key/value cache.

    tftrace run examples/story.py
    tftrace run --every 4 --level modules examples/story.py   # every fourth token, without lines

The script takes a hub id as argument, such as openai-community/gpt2. Without one it uses the demo model that comes with
tftrace.
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tftrace.demo import demo_folder

BEGINNING = "Once upon a time there was a kind girl named Lily. One day Lily"
TOKENS = 12


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else str(demo_folder("gpt2"))
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForCausalLM.from_pretrained(name).eval()
    inputs = tokenizer(BEGINNING, return_tensors="pt")
    torch.manual_seed(0)
    for sampled in (False, True):
        ids = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=sampled, pad_token_id=tokenizer.eos_token_id)
        print("sampled:" if sampled else "likeliest:", tokenizer.decode(ids[0], skip_special_tokens=True))


if __name__ == "__main__":
    main()
