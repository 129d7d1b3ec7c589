"""Scores of caption systems by pycocoevalcap 1.2 (needs Java for its tokeniser).

    python -m venv venv && venv/bin/pip install pycocoevalcap==1.2
"""

import json

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer


def tokenize(captions):
    """Lists of captions, one list a photo, as pycocoevalcap's dictionary of tokenised captions."""
    return PTBTokenizer().tokenize(
        {photo: [{"caption": text} for text in texts] for photo, texts in enumerate(captions)}
    )


def write(path, references, systems):
    """Scores `systems` (name -> one candidate a photo) and writes what the Rust tests read."""
    ground_truth = tokenize(references)
    rows = []
    for name, candidates in systems.items():
        result = tokenize([[text] for text in candidates])
        rows.append(
            {
                "name": name,
                "candidates": candidates,
                "tokens": [texts[0] for texts in result.values()],
                "bleu": Bleu(4).compute_score(ground_truth, result, verbose=0)[0],
                "rouge_l": float(Rouge().compute_score(ground_truth, result)[0]),
                "cider": float(Cider().compute_score(ground_truth, result)[0]),
            }
        )
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"references": references, "systems": rows}, file, indent=1, ensure_ascii=False)
        file.write("\n")
