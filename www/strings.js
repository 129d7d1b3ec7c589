// @ts-check
/** All texts of the page. */

/**
 * @typedef {import('./pkg/index.js').Caption} Caption
 * @typedef {import('./pkg/index.js').MemoryStats} MemoryStats
 * @typedef {import('./pkg/index.js').Recalled} Recalled
 * @typedef {import('./pkg/index.js').Remembered} Remembered
 */

const number = (/** @type {number} */ value, digits = 0) =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
const megabytes = (/** @type {number} */ bytes) => number(bytes / 1e6, 1);

const dateAndTime = new Intl.DateTimeFormat('en', {
  day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23',
});
const when = (/** @type {Date} */ date) => dateAndTime.format(date);
const today = () => new Date().toISOString().slice(0, 10);

/** @param {number} count */
function recallCount(count) {
  if (count === 0) return 'not recalled yet';
  return count === 1 ? 'recalled once' : `recalled ${number(count)} times`;
}

/** Whether a file could not be read, because it is no longer the one chosen. @param {any} error */
const isFileGone = (error) => ['NotReadableError', 'NotFoundError'].includes(error?.name);

export const strings = {
  loading: (/** @type {number} */ loaded, /** @type {number} */ total) =>
    `Loading ${megabytes(loaded)} of ${megabytes(total)} MB`,
  opening: 'Loading…',
  starting: 'Starting…',
  ready: 'Ready',
  notLoaded: 'The model could not be loaded',
  unsupported: 'This browser is too old for bitmar',
  offlineReady: 'Ready to work offline.',
  notOffline: 'Not stored for use offline: the browser may have too little space for it.',
  nothingShared:
    'No photo arrived. Either something else was shared, or there is too little space to keep it.',
  fileGone:
    'The file has changed or is gone since it was chosen, or it is a folder. Choose it again.',

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
  captionsName: (/** @type {string} */ extension) => `captions-${today()}.${extension}`,
  notCopied: (/** @type {boolean} */ isSecure) =>
    isSecure
      ? 'The browser did not allow the page to copy'
      : 'Browsers let a page copy only over https. Select the text to copy it.',
  corrected: 'Corrected and stored in the memory',
  correctionTaken: 'Your caption is in the memory.',
  /** Why a correction was not stored, by the error's code. */
  notCorrected: (/** @type {any} */ { code, message }) =>
    ({
      'caption-empty': 'A caption needs at least one character.',
      'caption-too-long': 'A caption can have at most 500 characters. Shorten it.',
      option: 'A caption is a single line: remove the line breaks and control characters.',
      conflict: strings.conflict,
      memory: 'This photo is no longer in the memory.',
    })[/** @type {string} */ (code)] ?? `The correction could not be stored: ${message}`,
  conflict:
    'This caption has changed in the meantime, perhaps in another tab. Nothing was changed.',

  stopCamera: 'Stop',
  closeCamera: 'Close',
  startingCamera: 'Starting the camera…',
  frameName: () => `camera-${new Date().toISOString().slice(0, 19).replaceAll(':', '.')}.jpg`,
  frameKept: 'Kept as a photo on the page.',
  cameraHidden: 'The camera was turned off because the page was hidden.',
  /** Why the camera shows nothing, by the name of the browser's error. */
  camera: (/** @type {{ name: string, code?: string, message?: string }} */ error) =>
    ({
      NotAllowedError:
        'The camera is not allowed here. Allow it for this page in the browser’s settings, ' +
        'then open it again.',
      NotFoundError: 'No camera was found on this device.',
      NotReadableError:
        'The camera cannot be used; another program may be using it. Close that program, ' +
        'then open the camera again.',
      InsecurePage: 'Browsers give the camera only to pages opened over https.',
      CameraLost: 'The camera was disconnected. Connect it, then open it again.',
    })[error.name] ?? strings.error(error),

  badge: (/** @type {number} */ used) => (used > 0 ? number(used) : ''),
  figures: (/** @type {MemoryStats} */ { used, slots, corrected, bytes }) =>
    `${number(used)} of ${number(slots)} places used, ${number(corrected)} by corrections, ` +
    `${number(bytes / 1000)} kB.`,
  kept: (/** @type {boolean} */ isStored, /** @type {boolean} */ isPersistent) => {
    if (!isStored) return 'Kept only until this page is closed. Export it to be safe.';
    if (isPersistent) return 'Stored on this device.';
    return 'Stored on this device, but the browser may remove it. Export it to be safe.';
  },
  entryMeta: (/** @type {Remembered} */ { corrected, writtenAt, recalls }) => {
    const kind = corrected ? 'Corrected' : 'Captioned';
    return `${kind} ${when(new Date(writtenAt))} · ${recallCount(recalls)}`;
  },
  correctEntry: (/** @type {string} */ text) => `Correct “${text}”`,
  deleteEntry: (/** @type {string} */ text) => `Delete “${text}”`,
  correctedEntry: 'Corrected.',
  deleted: 'Deleted from the memory.',
  cleared: 'The memory is empty.',
  imported: 'Imported.',
  notUndone: 'That can no longer be undone.',
  notChanged: (/** @type {any} */ error) =>
    isFileGone(error)
      ? strings.fileGone
      : {
          snapshot: 'This is not a memory that bitmar can read. Nothing was changed.',
          conflict: strings.conflict,
          memory: 'This photo is no longer in the memory.',
        }[/** @type {string} */ (error.code)] ?? `That did not work: ${error.message}`,
  importing: (/** @type {string} */ name) => `Import “${name}”`,
  readingFile: 'Reading the file…',
  exportName: (/** @type {Date} */ day) =>
    `bitmar-memory-${day.toISOString().slice(0, 10)}.safetensors`,
  asideEntry: (/** @type {string} */ name) => `Set aside on ${when(new Date(`${name}Z`))}`,
  migrating: (/** @type {number} */ done, /** @type {number} */ total) =>
    `Updating the memory, ${number(done)} of ${number(total)}`,

  /** What happened to the stored memory, by the notice's code. */
  notice: (/** @type {string} */ code) =>
    ({
      'storage-denied':
        'This browser does not let the page store anything. Corrections last until the page ' +
        'is closed.',
      'storage-full':
        'There is not enough space to store the memory. Corrections last until the page is ' +
        'closed; export them in the memory panel.',
      'storage-blocked':
        'Another tab has an older version of the memory open. Close it and reload this page; ' +
        'until then, corrections are not stored.',
      'storage-outdated':
        'Another tab runs a newer version of this page. Reload this one; until then, ' +
        'corrections are not stored.',
      'storage-evicted':
        'The browser removed the stored memory. This tab still has it, and stores it again ' +
        'with the next correction.',
      'memory-adopted':
        'The memory was updated for a new model. The old one is kept in the memory panel.',
      'memory-damaged':
        'The stored memory could not be read. It is kept in the memory panel, and a new one ' +
        'was started.',
    })[code] ?? 'The memory could not be stored. Corrections last until the page is closed.',

  /** The line below a caption: how long it took, how sure the model is, and the hint. */
  captionMeta: (/** @type {Caption} */ { timings, confidence }, hint = '') => {
    const meta = [`${number(timings.total / 1000, 2)} s`, strings.sureness(confidence)];
    return [...meta, ...(hint ? [`hint “${hint}”`] : [])].join(' · ');
  },
  /** Where the model looked for a word, by thirds of the photo. */
  looked: (
    /** @type {string} */ word,
    /** @type {{ row: number, column: number }} */ { row, column },
  ) => {
    const parts = [['top', '', 'bottom'][row], ['left', '', 'right'][column]].filter(Boolean);
    return `Where the model looked for “${word}”: mostly ${parts.join(' ') || 'center'}`;
  },
  /** Which memory a caption came from. */
  recalled: (
    /** @type {Caption} */ caption,
    /** @type {Recalled} */ { text, corrected, weight, writtenAt },
  ) => {
    const share = `${when(new Date(writtenAt))}, ${number(100 * weight)} %`;
    if (text !== caption.text) return `Reminded of “${text}” (${share})`;
    return `Remembered from ${corrected ? 'your correction' : 'an earlier caption'} (${share})`;
  },
  /**
   * A confidence of 0 to 1 in words. When 1,000 dev photos are sorted by confidence, the three
   * lower fifths (up to about 0.47) have a CIDEr-D of 0.33, 0.42 and 0.55, the two upper ones 0.66
   * and 0.96. Only the user's own words come near 1.
   */
  sureness: (/** @type {number} */ confidence) => {
    if (confidence >= 0.8) return 'confident';
    return confidence >= 0.47 ? 'fairly sure' : 'unsure';
  },

  /** Why a photo's file cannot be read, by the error's reason. */
  photo: (/** @type {any} */ { reason, format, cause }) => {
    if (isFileGone(cause)) return strings.fileGone;
    /** @type {Record<string, string>} */
    const reasons = {
      unsupported: `${format} is not supported. JPEG, PNG, WebP and GIF work.`,
      'too-large': 'The photo is too large: it has more than 100 million pixels.',
      truncated: 'The photo is cut off: a part of its file is missing. Copy or download it again.',
      damaged: 'The photo’s file is damaged.',
      empty: 'The file is empty.',
    };
    return reasons[reason] ??
      'This is not a photo the page can read. JPEG, PNG, WebP and GIF work.';
  },

  /** What to do about an error, by its code. */
  error: (/** @type {any} */ error) =>
    ({
      photo: strings.photo(error),
      network: 'The model could not be downloaded. Check the connection, then try again.',
      unsupported: 'This browser is too old for bitmar.',
    })[/** @type {string} */ (error.code)] ?? `Something went wrong: ${error.message ?? 'unknown'}`,
};
