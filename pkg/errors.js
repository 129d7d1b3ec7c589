// @ts-check
/**
 * Errors as they cross the worker boundary: a posted Error loses its class and fields, so
 * `{ code, message }` is posted, and the client builds a BitMarError from it.
 */

/** An error with a `code` that stays the same between versions. */
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
 * The object to post for anything thrown. An error without a code of ours is a bug, or a trap in
 * the wasm module: `internal`.
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

/** One of the package's scripts cannot be imported. @param {any} cause */
export const missingScripts = (cause) =>
  new BitMarError('network', `cannot load the package's own scripts: ${cause.message}`, { cause });
