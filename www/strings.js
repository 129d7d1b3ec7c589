// @ts-check
/** What the page says, in one place. */

const number = (/** @type {number} */ value, digits = 0) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const megabytes = (/** @type {number} */ bytes) => number(bytes / 1e6, 1);

export const strings = {
  loading: (/** @type {number} */ loaded, /** @type {number} */ total) =>
    `Loading ${megabytes(loaded)} of ${megabytes(total)} MB`,
  starting: 'Starting…',
  ready: 'Ready',
  notLoaded: 'The model could not be loaded',
  unsupported: 'This browser is too old for bitmar: it lacks WebAssembly SIMD',
  offlineReady: 'Ready to work offline.',
  updateThere: 'An update is available.',
  update: 'Reload',

  waiting: 'Waiting…',
  looking: 'Looking…',
  cancelled: 'Cancelled',
  count: (/** @type {number} */ done, /** @type {number} */ all) =>
    done < all ? `${number(done)} of ${number(all)} photos` : '',
  photoAlt: (/** @type {string} */ name) => `Photo: ${name}`,
  remove: (/** @type {string} */ name) => `Remove ${name}`,
  removed: 'Removed',
  undo: 'Undo',
  copied: 'Copied as alt text',
  notCopied: 'The browser did not let the page copy',
  corrected: 'Corrected, and stored in the memory',
  notCorrected: 'That could not be remembered',
  memoryLost: 'This browser does not store the memory: corrections last until the page is closed.',
  memorySetAside: 'The stored memory belongs to another version and was set aside.',
  /** What the memory had to do with a caption, if it is worth a word. */
  recalled: (/** @type {import('./pkg/index.js').Caption} */ { text, recalled: [memory] }) => {
    if (!memory || memory.weight < 0.5) return undefined;
    if (memory.text !== text) return `Reminded of: “${memory.text}”`;
    return memory.corrected ? 'Remembered from your correction' : undefined;
  },
  seconds: (/** @type {number} */ ms) => `${number(ms / 1000, 2)} s`,
  /** A confidence of 0 to 1 in words. */
  sureness: (/** @type {number} */ confidence) =>
    confidence >= 0.45 ? 'confident' : confidence >= 0.28 ? 'fairly sure' : 'unsure',

  /** What a person can do about an error, by its code. */
  error: (/** @type {{ code?: string, message?: string }} */ { code, message }) =>
    ({
      photo: 'This is not a photo the page can read. JPEG, PNG, WebP and GIF work.',
      network: 'The model could not be downloaded. Check the connection, then try again.',
      unsupported: 'This browser is too old for bitmar.',
    })[code ?? ''] ?? `Something went wrong: ${message ?? 'unknown'}`,
};
