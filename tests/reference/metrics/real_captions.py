"""Writes pycocoevalcap's scores on Flickr8k's dev split, for the test that compares the Rust metrics.

    venv/bin/python real_captions.py DATA/flickr8k.jsonl /tmp/real.json
    BITMAR_METRICS_CHECK=/tmp/real.json cargo test --features train real_captions -- --ignored --nocapture

The output holds captions of the data set: it does not belong into the repository.
"""

import json
import random
import sys

from coco_scores import write

PHOTOS = 300


def main(index, out):
    with open(index, encoding="utf-8") as lines:
        photos = [json.loads(line) for line in lines]
    generator = random.Random(0)
    dev = generator.sample([photo["captions"] for photo in photos if photo["split"] == "dev"], PHOTOS)
    human = [captions[0] for captions in dev]
    references = [captions[1:] for captions in dev]
    words = [text.split() for text in human]
    systems = {
        "human": human,
        "human, lower case": [text.lower().removesuffix(" .") for text in human],
        "another photo's": human[1:] + human[:1],
        "words shuffled": [" ".join(generator.sample(text, len(text))) for text in words],
        "first half": [" ".join(text[: len(text) // 2]) for text in words],
        "constant": ["a man in a blue shirt is standing on the street"] * PHOTOS,
    }
    write(out, references, systems)


if __name__ == "__main__":
    main(*sys.argv[1:])
