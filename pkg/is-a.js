// @ts-check

/**
 * Whether a value belongs to one of these classes, in whichever realm it was made: `instanceof`
 * does not know the classes of an iframe. The class need not exist here.
 * @param {any} value
 * @param {string[]} names
 */
export const isA = (value, ...names) =>
  names.includes(Object.prototype.toString.call(value).slice(8, -1));
