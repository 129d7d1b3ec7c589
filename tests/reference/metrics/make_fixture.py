"""Writes fixture.json: sentences made up for this test, with pycocoevalcap's scores of them.

    venv/bin/python make_fixture.py
"""

from pathlib import Path

from coco_scores import write

REFERENCES = [
    [
        "A tortoise crosses the wet road.",
        "A small tortoise is walking over a road",
        "An animal with a shell crosses the street, slowly.",
    ],
    [
        "Grandma's bicycle leans against the bakery wall .",
        "A bicycle isn't locked; it leans on a wall.",
    ],
    [
        "Three kites fly over the harbour at 5:30 in the evening.",
        "kites over a harbour",
        "Three red kites fly high",
        "The kites that they're flying can't fall",
    ],
    [
        "A chess player in a t-shirt thinks (for a long time).",
        "The player thinks about a move",
    ],
    [
        "Two potters shape clay on St. Mary's market.",
        "Two people shape pots out of clay on a market",
        "two potters , two wheels , one market",
    ],
    [
        "An old lighthouse stands on a rock in the sea",
        "The lighthouse, white and red, stands on the rock.",
    ],
]

SYSTEMS = {
    "close": [
        "a tortoise walking over the road",
        "a bicycle leans against a wall",
        "three kites fly over a harbour",
        "a player in a t-shirt thinks about a move",
        "two potters shape clay on a market",
        "a lighthouse stands on a rock in the sea",
    ],
    "exact": [photo[0] for photo in REFERENCES],
    "shifted": [REFERENCES[(i + 1) % len(REFERENCES)][0] for i in range(len(REFERENCES))],
    "constant": ["a dog on the road"] * len(REFERENCES),
    "repeating and empty": [
        "the the the the road road",
        "",
        "kites",
        "a player thinks, thinks and thinks: what?! That's it...",
        "clay clay clay on on on a market that's on a hill with a view of a town and of a river",
        "\"lighthouse\" 'rock' & sea #3",
    ],
}

if __name__ == "__main__":
    write(Path(__file__).with_name("fixture.json"), REFERENCES, SYSTEMS)
