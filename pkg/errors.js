// @ts-check
/**
 * Errors as they cross the worker boundary: a posted Error loses its class and fields, so
 * its fields are posted, and the client builds a BitMarError from them.
 */

/** An error with a `code` that stays the same between versions. */
export class BitMarError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {ErrorOptions & { reason?: string, format?: string }} [options]
   */
  constructor(code, message, { reason, format, ...options } = {}) {
    super(message, options);
    this.name = 'BitMarError';
    this.code = code;
    if (reason) this.reason = reason;
    if (format) this.format = format;
  }
}

/**
 * The object to post for anything thrown. An error without a code of ours is a bug, or a trap in
 * the wasm module: `internal`.
 * @param {any} thrown
 */
export function toPlain(thrown) {
  const isOurs = thrown instanceof Error && typeof (/** @type {any} */ (thrown).code) === 'string';
  const { code, reason, format } = isOurs ? /** @type {any} */ (thrown) : { code: 'internal' };
  return { code, message: String(thrown?.message ?? thrown), reason, format };
}

/** @param {{ code: string, message: string, reason?: string, format?: string }} plain */
export const fromPlain = ({ code, message, ...detail }) => new BitMarError(code, message, detail);

/** One of the package's scripts cannot be imported. @param {any} cause */
export const missingScripts = (cause) =>
  new BitMarError('network', `cannot load the package's own scripts: ${cause.message}`, { cause });
