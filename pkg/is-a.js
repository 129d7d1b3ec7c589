// @ts-check

/** `instanceof` for a class that may not exist here. @param {any} value @param {string} name */
export function isA(value, name) {
  const type = /** @type {any} */ (globalThis)[name];
  return type !== undefined && value instanceof type;
}
