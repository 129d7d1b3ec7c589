// @ts-check
/** The stack of layers as an ONNX model: just as much of protobuf and of ONNX's schema as that takes. */

/** @typedef {{ outputs: number, inputs: number, layers: number, weights: Int8Array }} Stack */

const FLOAT = 1;
const INT8 = 3;
/** `AttributeProto.type` of an integer. */
const INT = 2;

/** @param {number} value @returns {number[]} */
const varint = (value) => (value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))]);

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A field that is a number. @param {number} field @param {number} value */
const number = (field, value) => Uint8Array.from([...varint(field * 8), ...varint(value)]);

/** A field that is bytes, text or a message of fields. @param {number} field @param {Uint8Array | string | Uint8Array[]} value */
function block(field, value) {
  const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : Array.isArray(value) ? joined(value) : value;
  return joined([Uint8Array.from([...varint(field * 8 + 2), ...varint(bytes.length)]), bytes]);
}

/** @param {string} type @param {string[]} inputs @param {string[]} outputs @param {Uint8Array[]} attributes */
const node = (type, inputs, outputs, attributes = []) =>
  block(1, [...inputs.map((name) => block(1, name)), ...outputs.map((name) => block(2, name)), block(4, type), ...attributes]);

/** @param {string} name @param {number} type @param {number[]} dims @param {ArrayBufferView} data */
const tensor = (name, type, dims, data) =>
  block(5, [
    ...dims.map((dim) => number(1, dim)),
    number(2, type),
    block(8, name),
    block(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ]);

/** A float input or output. @param {number} field @param {string} name @param {number[]} dims */
const value = (field, name, dims) =>
  block(field, [block(1, name), block(2, [block(1, [number(1, FLOAT), block(2, dims.map((dim) => block(1, [number(1, dim)])))])])]);

/** ONNX multiplies from the left, so it wants `[inputs, outputs]`. @param {Stack} stack @param {number} layer */
function transposed({ outputs, inputs, weights }, layer) {
  const from = weights.subarray(layer * outputs * inputs, (layer + 1) * outputs * inputs);
  const to = new Int8Array(from.length);
  for (let row = 0; row < outputs; row++) {
    for (let col = 0; col < inputs; col++) to[col * outputs + row] = from[row * inputs + col];
  }
  return to;
}

/** @param {Uint8Array[]} parts of the graph @param {Stack} stack @param {number} rows */
function model(parts, { outputs, inputs, layers }, rows) {
  const names = Array.from({ length: layers }, (_, layer) => `y${layer}`);
  const graph = [
    ...parts, node('Sum', names, ['y']), block(2, 'stack'),
    value(11, 'x', [rows, inputs]), value(12, 'y', [rows, outputs]),
  ];
  // Intermediate representation 8, operators of version 13.
  return joined([number(1, 8), block(7, graph), block(8, [block(1, ''), number(2, 13)])]);
}

/** Weights in f32. @param {Stack} stack @param {number} rows */
export function floatModel(stack, rows) {
  const parts = [];
  for (let layer = 0; layer < stack.layers; layer++) {
    const weights = Float32Array.from(transposed(stack, layer));
    parts.push(node('MatMul', ['x', `w${layer}`], [`y${layer}`]));
    parts.push(tensor(`w${layer}`, FLOAT, [stack.inputs, stack.outputs], weights));
  }
  return model(parts, stack, rows);
}

/** Weights in int8, activations quantized as they come: what ONNX Runtime's `quantize_dynamic` writes. @param {Stack} stack @param {number} rows */
export function int8Model(stack, rows) {
  const parts = [
    node('DynamicQuantizeLinear', ['x'], ['xq', 'xs', 'xz']),
    tensor('ws', FLOAT, [], Float32Array.of(1)),
    tensor('wz', INT8, [], Int8Array.of(0)),
    node('Mul', ['xs', 'ws'], ['scale']),
  ];
  const toFloat = block(5, [block(1, 'to'), number(3, FLOAT), number(20, INT)]);
  for (let layer = 0; layer < stack.layers; layer++) {
    parts.push(node('MatMulInteger', ['xq', `w${layer}`, 'xz', 'wz'], [`i${layer}`]));
    parts.push(node('Cast', [`i${layer}`], [`f${layer}`], [toFloat]));
    parts.push(node('Mul', [`f${layer}`, 'scale'], [`y${layer}`]));
    parts.push(tensor(`w${layer}`, INT8, [stack.inputs, stack.outputs], transposed(stack, layer)));
  }
  return model(parts, stack, rows);
}
