"""Writes golden.json: what a small DINOv2 of made-up weights says about a made-up photo, in NumPy, float64.

    python -m venv venv && venv/bin/pip install numpy==2.4.6
    venv/bin/python make_golden.py

Written from the paper (Oquab et al. 2023) and its code (facebookresearch/dinov2, models/vision_transformer.py and
layers/): pre-norm blocks with LayerScale, LayerNorm with eps 1e-6, GELU by erf, and position embeddings resized by
PyTorch's bicubic interpolation with `scale_factor = (new + 0.1) / old`, without antialiasing. The tensors have the
names of Hugging Face's `facebook/dinov2-small`, and every number comes from `src/random.rs`.
"""

import json
from math import erf, floor
from pathlib import Path

import numpy as np

HIDDEN, HEADS, LAYERS, PATCH = 128, 2, 2, 14
GRID, SIZE = 5, 42  # position embeddings of 5 x 5 patches; a photo of 3 x 3
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
WORD = (1 << 64) - 1


def words(name, count):
    """`Random::named(0, name)`: SplitMix64 from the FNV-1a hash of the name."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & WORD
    out = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & WORD
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        out.append(z ^ (z >> 31))
    return out


def numbers(name, *shape):
    """Uniform in -1 to 1."""
    values = [(word >> 40) / (1 << 24) * 2 - 1 for word in words(name, int(np.prod(shape)))]
    return np.array(values).reshape(shape)


def weight(name, *shape):
    """The tensor `name` of the model."""
    values = numbers(name, *shape)
    if name.endswith("lambda1"):
        return 0.5 + values / 2
    if "norm" in name and name.endswith("weight"):
        return 1 + values / 2
    if name in ("embeddings.cls_token", "embeddings.position_embeddings"):
        return values
    return values / 8


def linear(x, name, outputs):
    return x @ weight(f"{name}.weight", outputs, x.shape[-1]).T + weight(f"{name}.bias", outputs)


def layer_norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * weight(f"{name}.weight", HIDDEN) + weight(f"{name}.bias", HIDDEN)


def attention(x, name):
    query, key, value = (linear(x, f"{name}.attention.{part}", HIDDEN) for part in ("query", "key", "value"))
    out = np.empty_like(x)
    for head in np.split(np.arange(HIDDEN), HEADS):
        scores = query[:, head] @ key[:, head].T / np.sqrt(HIDDEN / HEADS)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, head] = shares / shares.sum(-1, keepdims=True) @ value[:, head]
    return linear(out, f"{name}.output.dense", HIDDEN)


def mlp(x, name):
    x = linear(x, f"{name}.fc1", 4 * HIDDEN)
    x = x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2
    return linear(x, f"{name}.fc2", HIDDEN)


def cubic(distance):
    """The cubic convolution kernel (Keys 1981) with PyTorch's a = -0.75."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0


def resize_matrix(old, new):
    """Rows: what each new position takes of the old ones; beyond the ends stands the last one."""
    matrix = np.zeros((new, old))
    for row in range(new):
        source = (row + 0.5) * old / (new + 0.1) - 0.5
        for tap in range(floor(source) - 1, floor(source) + 3):
            matrix[row, min(max(tap, 0), old - 1)] += cubic(source - tap)
    return matrix


def resize(table, new):
    """`[old, old, channels]` to `[new, new, channels]`."""
    matrix = resize_matrix(len(table), new)
    return np.einsum("yi,xj,ijc->yxc", matrix, matrix, table)


def patches(pixels):
    """`[size, size, 3]` of 0 to 255 to `[patches, 3 * 14 * 14]`, color by color."""
    image = (pixels / 255 - MEAN) / DEVIATION
    side = len(pixels) // PATCH
    cells = image.reshape(side, PATCH, side, PATCH, 3).transpose(0, 2, 4, 1, 3)
    return cells.reshape(side * side, -1)


def forward(pixels):
    """The CLS vector `[hidden]` and the patch tokens `[patches, hidden]` after the last norm."""
    cells = patches(pixels)
    projection = "embeddings.patch_embeddings.projection"
    kernel = weight(f"{projection}.weight", HIDDEN, 3, PATCH, PATCH).reshape(HIDDEN, -1)
    rows = cells @ kernel.T + weight(f"{projection}.bias", HIDDEN)
    table = weight("embeddings.position_embeddings", 1, 1 + GRID * GRID, HIDDEN)[0]
    positions = resize(table[1:].reshape(GRID, GRID, HIDDEN), SIZE // PATCH).reshape(-1, HIDDEN)
    cls = weight("embeddings.cls_token", 1, 1, HIDDEN)[0] + table[:1]
    x = np.concatenate([cls, rows + positions])
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        attended = attention(layer_norm(x, f"{name}.norm1"), f"{name}.attention")
        x = x + attended * weight(f"{name}.layer_scale1.lambda1", HIDDEN)
        x = x + mlp(layer_norm(x, f"{name}.norm2"), f"{name}.mlp") * weight(f"{name}.layer_scale2.lambda1", HIDDEN)
    x = layer_norm(x, "layernorm")
    return x[0], x[1:]


if __name__ == "__main__":
    photo = np.array([word >> 56 for word in words("photo", SIZE * SIZE * 3)]).reshape(SIZE, SIZE, 3)
    cls, tokens = forward(photo)
    golden = {
        "cls": cls.round(5).tolist(),
        "patches": tokens.reshape(-1).round(5).tolist(),
        "resized": resize(numbers("table", 37, 37, 1), 16).reshape(-1).round(6).tolist(),
    }
    with open(Path(__file__).with_name("golden.json"), "w", encoding="utf-8") as file:
        json.dump(golden, file)
        file.write("\n")
