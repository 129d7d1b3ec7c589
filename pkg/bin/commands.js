// @ts-check
/** What each command does, by name. */
import { BitMar } from '../index.js';
import { captionAll } from './caption.js';
import { at, fileError } from './failure.js';
import { read, readPhoto } from './input.js';
import { locked } from './lock.js';
import { load, memoryFile, replace, restore, store } from './memory-file.js';
import { modelName, readModel, readTokenizer, usage, version } from './model-files.js';
import { print, printJson, printLine, shown } from './output.js';

/** @typedef {import('./arguments.js').Settings} Settings */

/** @type {Record<string, (settings: Settings, ...words: string[]) => Promise<void>>} */
export const commands = {
  help: async () => print(await usage()),
  version: async ({ model }) =>
    printLine(`bitmar ${await version()}, model ${await modelName(await readModel(model))}`),
  info: (settings) => using(settings, async (bitmar) => printInfo(bitmar, settings)),
  caption: async (settings, ...photos) => {
    const file = settings.memory && await memoryFile(settings.memory);
    await using(settings, (bitmar) => captionAll(bitmar, settings, file, photos));
  },
  correct: async (settings, photo, text) => {
    const bytes = await readPhoto(photo).catch((error) => {
      throw at(error, photo);
    });
    await changing(settings, (bitmar) => bitmar.correct(bytes, text));
  },
  'memory list': (settings) => remembering(settings, async (bitmar) => {
    for (const { slot, text, corrected, recalls, writtenAt } of await bitmar.memory.list()) {
      const mark = corrected ? 'corrected' : 'captioned';
      const entry = { slot, caption: text, corrected, written_at: writtenAt, recalls };
      if (settings.json) await printJson(entry);
      else await printLine(`${slot}\t${mark}\trecalled ${recalls}\t${shown(text)}`);
    }
  }),
  'memory delete': (settings, slot) =>
    changing(settings, (bitmar) => bitmar.memory.delete(Number(slot))),
  'memory export': (settings) =>
    remembering(settings, async (bitmar) => print(await bitmar.memory.export())),
  // The memory file is not read: a damaged one can still be replaced.
  'memory import': async (settings, file) => {
    const snapshot = await read(file).catch((error) => {
      throw fileError('snapshot', file, error);
    });
    await replacing(settings, (bitmar) => load(bitmar, snapshot, file));
  },
  'memory clear': (settings) => replacing(settings, async () => {}),
};

/** @param {Settings} settings @param {(bitmar: BitMar) => Promise<void>} run */
async function using({ model }, run) {
  const files = { model: await readModel(model), tokenizer: await readTokenizer(model) };
  const bitmar = await BitMar.load(files);
  try {
    await run(bitmar);
  } finally {
    bitmar.close();
  }
}

/**
 * Runs with the memory of its file.
 * @param {Settings} settings @param {(bitmar: BitMar) => Promise<void>} run
 */
async function remembering(settings, run) {
  const file = await memoryFile(settings.memory);
  await using(settings, async (bitmar) => {
    await restore(bitmar, file);
    await run(bitmar);
  });
}

/**
 * Changes the memory in its file.
 * @param {Settings} settings @param {(bitmar: BitMar) => Promise<unknown>} change
 */
async function changing(settings, change) {
  const file = await memoryFile(settings.memory);
  await using(settings, (bitmar) => locked(file, async () => {
    await restore(bitmar, file);
    await change(bitmar);
    await store(bitmar, file);
  }));
}

/**
 * Replaces the memory's file with what `fill` puts into an empty memory.
 * @param {Settings} settings @param {(bitmar: BitMar) => Promise<void>} fill
 */
async function replacing(settings, fill) {
  const file = await memoryFile(settings.memory);
  await using(settings, async (bitmar) => {
    await fill(bitmar);
    await locked(file, async () => replace(file, await bitmar.memory.export()));
  });
}

/** @param {BitMar} bitmar @param {Settings} settings */
async function printInfo(bitmar, { model, json }) {
  const { version, name, sha256, kernels } = bitmar.info;
  const { slots } = await bitmar.memory.stats();
  const bytes = (await readModel(model)).length;
  if (json) return printJson({ version, model: name, sha256, bytes, slots, kernels });
  await printLine(`bitmar   ${version}\nmodel    ${name}, ${bytes} bytes\nsha256   ${sha256}`);
  await printLine(`memory   ${slots} photos\nkernels  ${kernels}`);
}
