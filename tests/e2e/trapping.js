// @ts-check
/** A wasm module with a function that traps, which ours never does: the module's own bytes, changed in one place. */

const [IMPORTS, EXPORTS, CODE] = [2, 7, 10];
const [UNREACHABLE, NOP, END] = [0x00, 0x01, 0x0b];

/**
 * The module with `unreachable` as the whole body of a function it exports.
 * @param {Uint8Array} wasm @param {string} name of the export
 */
export function trapping(wasm, name) {
  const bytes = new Uint8Array(wasm);
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      more = byte >= 128;
    }
    return value;
  };
  /** Where the sections' contents begin. @type {Record<number, number>} */
  const sections = {};
  while (at < bytes.length) {
    const id = bytes[at++];
    const size = number();
    sections[id] = at;
    at += size;
  }
  /** @type {number | undefined} */ let index;
  at = sections[EXPORTS];
  for (let left = number(); left > 0; left--) {
    const length = number();
    const own = new TextDecoder().decode(bytes.subarray(at, (at += length)));
    at++;
    const found = number();
    if (own === name) index = found;
  }
  if (index === undefined) throw new Error(`the module exports no ${name}`);
  // Imports, which are all functions in what wasm-bindgen writes, are counted first and have no bodies.
  at = sections[IMPORTS];
  let before = index - number();
  at = sections[CODE];
  for (number(); before > 0; before--) at = number() + at;
  const size = number();
  // No locals, and what comes behind `unreachable` is valid whatever the function returns.
  bytes.fill(NOP, at, at + size).set([0, UNREACHABLE], at);
  bytes[at + size - 1] = END;
  return bytes;
}
