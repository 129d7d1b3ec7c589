// @ts-check
/** The captions of photos, line by line. */
import { plain } from './failure.js';
import { readPhoto } from './input.js';
import { locked } from './lock.js';
import { restore, store } from './memory-file.js';
import { printJson, printLine, report, shown } from './output.js';

/** @typedef {import('../index.js').BitMar} BitMar */

/**
 * Captions every photo; one that fails is reported and the others go on.
 * @param {BitMar} bitmar @param {import('./arguments.js').Settings} settings
 * @param {string} file of the memory, empty if there is none @param {string[]} photos
 */
export async function captionAll(bitmar, { json, remember, options }, file, photos) {
  if (file && !remember) await restore(bitmar, file);
  /** What the file holds, as far as we know. @type {Uint8Array | undefined} */ let known;

  /** The caption, or `{ error }`. @param {string} photo @returns {Promise<any>} */
  const captioned = async (photo) => {
    try {
      // Without a memory file one photo's caption must not depend on the photos before it.
      const own = { ...options, remember, countRecalls: remember };
      return await bitmar.caption(await readPhoto(photo), own);
    } catch (error) {
      return { error: plain(error) };
    }
  };
  /** @param {string} photo */
  const remembered = (photo) => locked(file, async () => {
    await restore(bitmar, file, known);
    const caption = await captioned(photo);
    // Read again after a failure, which may have ended the module.
    known = caption.error ? undefined : await store(bitmar, file);
    return caption;
  });

  for (const photo of photos) {
    const caption = await (remember ? remembered(photo) : captioned(photo));
    if (caption.error) process.exitCode = 1;
    await printCaption(photo, caption, json);
  }
}

/** @param {string} photo @param {any} caption or `{ error }` @param {boolean} json */
async function printCaption(photo, { error, text, tokens, confidence, tags, timings }, json) {
  if (error) {
    report(`${photo}: ${error.message}`);
    if (json) await printJson({ photo, error });
  } else if (json) {
    const ms = rounded(timings);
    const sure = float32(confidence);
    // JSON leaves out what is undefined: a model without a tag head has no tags.
    await printJson({ photo, caption: text, tokens, confidence: sure, tags, ms });
  } else {
    await printLine(`${shown(photo)}: ${shown(text)}`);
  }
}

/** In whole microseconds, which are as fine as the clock is. @param {Record<string, number>} ms */
const rounded = (ms) =>
  Object.fromEntries(Object.entries(ms).map(([part, ms]) => [part, Math.round(ms * 1000) / 1000]));

/**
 * A 32-bit float with as few digits as name it, as the native program prints it.
 * @param {number} value
 */
function float32(value) {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}
