// @ts-check
/** What the page says, in one place. */

const number = (/** @type {number} */ value, digits = 0) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const megabytes = (/** @type {number} */ bytes) => number(bytes / 1e6, 1);

const moment = new Intl.DateTimeFormat('en', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const when = (/** @type {Date} */ date) => moment.format(date);
const times = (/** @type {number} */ count) =>
  count === 0 ? 'not recalled yet' : count === 1 ? 'recalled once' : `recalled ${number(count)} times`;

export const strings = {
  loading: (/** @type {number} */ loaded, /** @type {number} */ total) =>
    `Loading ${megabytes(loaded)} of ${megabytes(total)} MB`,
  starting: 'Starting…',
  ready: 'Ready',
  notLoaded: 'The model could not be loaded',
  unsupported: 'This browser is too old for bitmar',
  offlineReady: 'Ready to work offline.',

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
  copiedHtml: 'Copied as HTML',
  captionsName: (/** @type {string} */ extension) => `captions-${new Date().toISOString().slice(0, 10)}.${extension}`,
  notCopied: 'The browser did not let the page copy',
  corrected: 'Corrected, and stored in the memory',
  correctionTaken: 'Your caption is in the memory.',
  notCorrected: 'That could not be remembered. Keep it to one sentence of about 15 words.',

  stopCamera: 'Stop',
  closeCamera: 'Close',
  startingCamera: 'Starting the camera…',
  frameName: () => `camera-${new Date().toISOString().slice(0, 19).replaceAll(':', '.')}.jpg`,
  frameKept: 'Kept: it is a photo on the page.',
  cameraHidden: 'The camera was switched off, for this page was out of sight.',
  /** Why there is no picture of the camera, by the name of the browser's error. */
  camera: (/** @type {{ name: string, code?: string, message?: string }} */ error) =>
    ({
      NotAllowedError: 'The camera is not allowed here. Allow it in the browser’s settings for this page, then open it again.',
      NotFoundError: 'No camera was found on this device.',
      NotReadableError: 'The camera cannot be used: another program may be using it. Close that, then open it again.',
      CameraLost: 'The camera is gone. Connect it, then open it again.',
    })[error.name] ?? strings.error(error),

  badge: (/** @type {number} */ used) => (used > 0 ? number(used) : ''),
  figures: (/** @type {import('./pkg/index.js').MemoryStats} */ { used, slots, corrected, bytes }) =>
    `${number(used)} of ${number(slots)} places used, ${number(corrected)} by corrections, ${number(bytes / 1000)} kB.`,
  kept: (/** @type {boolean} */ isStored, /** @type {boolean} */ isSafe) => {
    if (!isStored) return 'Kept only until this page is closed: export it to be safe.';
    return isSafe ? 'Stored on this device.' : 'Stored on this device, as long as it has room: export it to be safe.';
  },
  entryMeta: (/** @type {import('./pkg/index.js').Remembered} */ { corrected, writtenAt, recalls }) =>
    `${corrected ? 'Corrected' : 'Captioned'} ${when(new Date(writtenAt))} · ${times(recalls)}`,
  correctEntry: (/** @type {string} */ text) => `Correct “${text}”`,
  deleteEntry: (/** @type {string} */ text) => `Delete “${text}”`,
  correctedEntry: 'Corrected.',
  deleted: 'Deleted from the memory.',
  cleared: 'The memory is empty.',
  imported: 'Imported.',
  notUndone: 'That can no longer be taken back.',
  notChanged: (/** @type {any} */ { code, message }) =>
    code === 'snapshot'
      ? 'This is not a memory that bitmar can read. Nothing was changed.'
      : `That did not work: ${message}`,
  importing: (/** @type {string} */ name) => `Import “${name}”`,
  readingFile: 'Reading the file…',
  exportName: (/** @type {Date} */ day) => `bitmar-memory-${day.toISOString().slice(0, 10)}.safetensors`,
  asideEntry: (/** @type {string} */ name) => `Set aside on ${when(new Date(`${name}Z`))}`,
  adopting: (/** @type {number} */ done, /** @type {number} */ total) =>
    `Taking over the memory, ${number(done)} of ${number(total)}`,

  /** What to say of the stored memory, by the notice's code. */
  notice: (/** @type {string} */ code) =>
    ({
      'storage-denied': 'This browser does not let the page store anything. Corrections last until the page is closed.',
      'storage-full': 'There is no room left to store the memory. Corrections last until the page is closed: export them in the memory panel.',
      'storage-blocked': 'Another tab holds an older version of the memory open. Close it and reload this page; until then corrections are not stored.',
      'storage-outdated': 'Another tab runs a newer version of this page. Reload this one; until then corrections are not stored.',
      'storage-evicted': 'The browser removed the stored memory. This tab still has it, and stores it again with the next correction.',
      'memory-adopted': 'The memory was taken over into a new version. The old one is kept in the memory panel.',
      'memory-damaged': 'The stored memory could not be read. It is kept in the memory panel; a new one begins.',
    })[code] ?? 'The memory could not be stored. Corrections last until the page is closed.',

  /** Beside a caption: how long it took, how sure it is, what it was told. */
  captionMeta: (/** @type {number} */ ms, /** @type {number} */ confidence, /** @type {string} */ hint) =>
    [`${number(ms / 1000, 2)} s`, strings.sureness(confidence), hint && `told “${hint}”`].filter(Boolean).join(' · '),
  /** Where the model looked for a word, by thirds of the photo. */
  looked: (/** @type {string} */ word, /** @type {{ row: number, column: number }} */ { row, column }) => {
    const place = [['top', '', 'bottom'][row], ['left', '', 'right'][column]].filter(Boolean).join(' ') || 'centre';
    return `Where the model looked for “${word}”: mostly ${place}`;
  },
  /** How a caption came from the memory. */
  recalled: (
    /** @type {import('./pkg/index.js').Caption} */ caption,
    /** @type {import('./pkg/index.js').Recalled} */ { text, corrected, weight, writtenAt },
  ) => {
    const share = `${when(new Date(writtenAt))}, ${number(100 * weight)} %`;
    if (text !== caption.text) return `Reminded of “${text}” (${share})`;
    return `Remembered from ${corrected ? 'your correction' : 'an earlier caption'} (${share})`;
  },
  /**
   * A confidence of 0 to 1 in words. Of 1,000 dev photos the three lower fifths by confidence, up to about 0.47, had
   * CIDEr-D 0.33, 0.42 and 0.55, the upper two 0.66 and 0.96; only the user's own words come near 1.
   */
  sureness: (/** @type {number} */ confidence) =>
    confidence >= 0.8 ? 'confident' : confidence >= 0.47 ? 'fairly sure' : 'unsure',

  /** What a person can do about an error, by its code. */
  error: (/** @type {{ code?: string, message?: string }} */ { code, message }) =>
    ({
      photo: 'This is not a photo the page can read. JPEG, PNG, WebP and GIF work.',
      network: 'The model could not be downloaded. Check the connection, then try again.',
      unsupported: 'This browser is too old for bitmar.',
    })[code ?? ''] ?? `Something went wrong: ${message ?? 'unknown'}`,
};
