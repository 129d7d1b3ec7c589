// @ts-check
/** What the command line does, by name. */
import { readFile } from 'node:fs/promises';
import { BitMar } from '../index.js';
import { locked } from './lock.js';
import { replace, restore, store } from './memory-file.js';

/**
 * @typedef {{ memory: string | undefined, json: boolean, remember: boolean,
 *   options: import('../index.js').CaptionOptions }} Settings `remember`: whether captions change the memory's file
 */

/** @type {Record<string, (settings: Settings, ...words: string[]) => Promise<void>>} */
export const commands = {
  caption: (settings, ...photos) => captionAll(settings, photos),
  correct: (settings, photo, text) =>
    changing(settings, async (bitmar) => bitmar.correct(await readFile(photo), text)),
  'memory list': (settings) => inMemory(settings, async (bitmar) => {
    for (const { slot, text, corrected, recalls, writtenAt } of await bitmar.memory.list()) {
      const mark = corrected ? 'corrected' : 'captioned';
      const entry = { slot, caption: text, corrected, written_at: writtenAt, recalls };
      console.log(settings.json ? JSON.stringify(entry) : `${slot}\t${mark}\trecalled ${recalls}\t${text}`);
    }
  }),
  'memory delete': (settings, slot) => changing(settings, (bitmar) => {
    if (!/^\d+$/.test(slot)) throw new Error(`not a slot: ${slot}`);
    return bitmar.memory.delete(Number(slot));
  }),
  'memory export': (settings) => inMemory(settings, async (bitmar) => void process.stdout.write(await bitmar.memory.export())),
  'memory import': (settings, file) =>
    changing(settings, async (bitmar) => bitmar.memory.import(await readFile(file)), false),
  // The file is not read: what cannot be read can still be cleared.
  'memory clear': (settings) =>
    inMemory(settings, (bitmar, file) => locked(file, async () => replace(file, await bitmar.memory.export())), false),
};

/** @param {(bitmar: BitMar) => Promise<void>} run */
async function using(run) {
  const bitmar = await BitMar.load();
  try {
    await run(bitmar);
  } finally {
    bitmar.close();
  }
}

/** @param {Settings} settings @param {(bitmar: BitMar, file: string) => Promise<void>} run @param {boolean} [isRead] whether the memory's file is */
async function inMemory({ memory }, run, isRead = true) {
  if (!memory) throw new Error("name the memory's file with --memory");
  await using(async (bitmar) => {
    if (isRead) await restore(bitmar, memory);
    await run(bitmar, memory);
  });
}

/** @param {Settings} settings @param {(bitmar: BitMar) => Promise<unknown>} change @param {boolean} [isRead] */
const changing = (settings, change, isRead = true) =>
  inMemory(settings, (bitmar, file) => locked(file, async () => {
    if (isRead) await restore(bitmar, file);
    await change(bitmar);
    await store(bitmar, file);
  }), false);

/** @param {Settings} settings @param {string[]} photos */
const captionAll = ({ memory, json, remember, options }, photos) => using(async (bitmar) => {
  /** What the file holds, as far as we know. @type {Uint8Array | undefined} */ let known;
  /** @param {string} photo */
  const caption = async (photo) => {
    try {
      // Without a memory's file each is alone: none leans on those before it.
      const caption = await bitmar.caption(await readFile(photo), { ...options, remember, countRecalls: remember });
      const { text, tokens, confidence, timings: ms } = caption;
      console.log(json ? JSON.stringify({ photo, text, tokens, confidence, ms }) : `${photo}: ${text}`);
      return true;
    } catch (/** @type {any} */ { code, message }) {
      process.exitCode = 1;
      console.error(`${photo}: ${message}`);
      if (json) console.log(JSON.stringify({ photo, error: { code, message } }));
      return false;
    }
  };
  if (memory && !remember) await restore(bitmar, memory);
  for (const photo of photos) {
    if (!memory || !remember) await caption(photo);
    else await locked(memory, async () => {
      await restore(bitmar, memory, known);
      if (await caption(photo)) known = await store(bitmar, memory);
    });
  }
});
