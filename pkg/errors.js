// @ts-check
/**
 * Errors as they cross the worker: a posted Error loses its class and its fields,
 * so `{ code, message }` is sent and a BitMarError is built from it on the other side.
 */

/** What went wrong, with a `code` that stays the same between versions. */
export class BitMarError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.name = 'BitMarError';
    this.code = code;
  }
}

/**
 * The plain object to post for anything that was thrown.
 * What carries no code of ours is a bug or a trap inside the wasm module: `internal`.
 * @param {any} thrown
 */
export function toPlain(thrown) {
  const isOurs = thrown instanceof Error && typeof (/** @type {any} */ (thrown).code) === 'string';
  return {
    code: isOurs ? /** @type {any} */ (thrown).code : 'internal',
    message: String(thrown?.message ?? thrown),
  };
}

/** @param {{ code: string, message: string }} plain */
export const fromPlain = ({ code, message }) => new BitMarError(code, message);
