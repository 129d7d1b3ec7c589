// @ts-check
/**
 * Classes by name, which works for values of any realm: `instanceof` does not know the classes of
 * an iframe, and not every class exists everywhere.
 */

/** @param {any} value */
export function classOf(value) {
  try {
    return Object.prototype.toString.call(value).slice(8, -1);
  } catch {
    return 'unreadable';
  }
}

/** @param {any} value @param {string[]} names */
export const isA = (value, ...names) => names.includes(classOf(value));
