// @ts-check
/**
 * What every public function takes, as index.d.ts declares it. A call that does not fit fails
 * before it does anything.
 */
import { BitMarError } from '../errors.js';
import { classOf, isA } from '../is-a.js';
import { absolute } from './address.js';
import { isGone, isPhoto } from './photo-source.js';

/**
 * @typedef {{ expected: string, fits: (value: any) => boolean }} Rule
 * @typedef {Record<string, Rule>} Options each may be left out
 */

/** @param {string} expected @param {Rule['fits']} fits @returns {Rule} */
const rule = (expected, fits) => ({ expected, fits });

/** @param {string[]} words */
const oneOf = (...words) =>
  rule(words.map((word) => `"${word}"`).join(' or '), (value) => words.includes(value));

const isText = (/** @type {any} */ value) => typeof value === 'string';
const isWhole = (/** @type {any} */ value) => Number.isInteger(value) && value >= 0;
const isBytes = (/** @type {any} */ value) => isA(value, 'Uint8Array') && !isGone(value);
/** The module counts slots in 32 bits. */
const isSlot = (/** @type {any} */ value) => isWhole(value) && value < 2 ** 32;
const isAddress = (/** @type {any} */ value) =>
  (isText(value) || isA(value, 'URL')) && absolute(value) !== null;

const TEXT = rule('a string', isText);
const SWITCH = rule('true or false', (value) => typeof value === 'boolean');
const CALLBACK = rule('a function', (value) => typeof value === 'function');
const SIGNAL = rule('an AbortSignal', (value) =>
  isA(value, 'AbortSignal') && typeof value.throwIfAborted === 'function');
const FILE = rule('a URL or a Uint8Array', (value) => isAddress(value) || isBytes(value));

const PHOTO = rule(
  'a file, bytes, a URL, pixels or an element, neither closed nor transferred', isPhoto);
const PHOTOS = rule('photos that can be iterated', (value) =>
  !isText(value) && !ArrayBuffer.isView(value) &&
  Boolean(value?.[Symbol.iterator] ?? value?.[Symbol.asyncIterator]));
const TARGET = rule('a caption, its id or a photo', (value) =>
  isWhole(value) || isPhoto(value) || (isA(value, 'Object') && isWhole(value.id)));
const ENTRY = rule('a slot, or an entry of memory.list()', (value) =>
  isSlot(value) || (isSlot(value?.slot) && Number.isFinite(value.writtenAt)));

/** @type {Options} */
const LOAD = {
  baseUrl: rule('a URL', (value) => value === '' || isAddress(value)),
  wasm: rule('a URL, a Uint8Array or a WebAssembly.Module', (value) =>
    FILE.fits(value) || isA(value, 'WebAssembly.Module')),
  model: FILE,
  tokenizer: FILE,
  memory: rule('false or { name }, a string that is not empty', (value) =>
    value === false ||
    (isA(value, 'Object') && Object.keys(value).join() === 'name' && isText(value.name) &&
      value.name !== '')),
  signal: SIGNAL,
  onProgress: CALLBACK,
  onNotice: CALLBACK,
  worker: SWITCH,
  cache: SWITCH,
  createWorker: CALLBACK,
};

/** @type {Options} */
const CAPTION = {
  length: oneOf('short', 'medium', 'long'),
  // The model reads 64 tokens; a longer text would only take time.
  hint: rule('a string of at most 10000 characters', (value) =>
    isText(value) && value.length <= 10_000),
  beams: rule('a whole number from 1 to 8', (value) => isWhole(value) && value >= 1 && value <= 8),
  recall: SWITCH,
  remember: SWITCH,
  countRecalls: SWITCH,
  attention: SWITCH,
  urgent: SWITCH,
  signal: SIGNAL,
  onToken: CALLBACK,
};

/** @type {Record<string, Record<string, any>>} */
const SIGNATURES = {
  load: { options: LOAD },
  caption: { photo: PHOTO, options: CAPTION },
  captionStream: { photo: PHOTO, options: CAPTION },
  captionMany: { photos: PHOTOS, options: CAPTION },
  correct: { target: TARGET, text: TEXT },
  'memory.correct': { entry: ENTRY, text: TEXT },
  'memory.delete': { entry: ENTRY },
  'memory.import': {
    snapshot: rule('a Uint8Array or an ArrayBuffer', (value) =>
      isBytes(value) || (isA(value, 'ArrayBuffer') && !isGone(value))),
    options: { mode: oneOf('replace', 'merge') },
  },
  'memory.exportAside': { name: TEXT },
  'memory.deleteAside': { name: TEXT },
};

/**
 * Fails if an argument does not fit.
 * @param {string} name of the function
 * @param {...any} given
 * @returns {any} the options that were given, if the function takes options
 */
export function checked(name, ...given) {
  const signature = SIGNATURES[name];
  for (const [index, parameter] of Object.keys(signature).entries()) {
    const value = given[index];
    if (parameter === 'options') return checkedOptions(name, signature.options, value);
    check(name, parameter, signature[parameter], value);
  }
}

/** @param {string} name @param {Options} rules @param {any} options */
function checkedOptions(name, rules, options = {}) {
  const names = Object.keys(rules);
  const known = rule(`one of ${names.join(', ')}`, (option) => names.includes(option));
  check(name, 'options', rule('an object', (value) => isA(value, 'Object')), options);
  /** @type {Record<string, any>} */
  const given = {};
  for (const option of new Set([...names, ...Object.keys(options)])) {
    // Read once: a getter may return something else the next time.
    const value = options[option];
    if (value === undefined) continue;
    check(name, 'an option', known, option);
    check(name, option, rules[option], value);
    given[option] = value;
  }
  return given;
}

/** @param {string} name @param {string} parameter @param {Rule} rule @param {any} value */
function check(name, parameter, { expected, fits }, value) {
  if (fits(value)) return;
  const isPhoto = parameter === 'photo' || (parameter === 'target' && typeof value !== 'number');
  const message = `${name}: ${parameter} is ${shown(value)}, expected ${expected}`;
  throw new BitMarError(isPhoto ? 'photo' : 'option', message);
}

/** @param {any} value */
function shown(value) {
  if (value === undefined) return 'missing';
  if (isText(value)) return JSON.stringify(value.slice(0, 40));
  return typeof value === 'number' ? String(value) : `of class ${classOf(value)}`;
}
