// @ts-check
/** What a worker server runs: captions of one photo at a time, and a memory kept in storage. */
import { BitMarError } from '../errors.js';
import { loadAssets } from '../loading/assets.js';
import { migrateSnapshot } from '../storage/migrate-snapshot.js';
import { PersistentMemory } from '../storage/persistent-memory.js';
import { decodePhoto } from './decode-image.js';
import { begin, complete } from './generate.js';
import { instanceNumber, start } from './wasm-instance.js';

/**
 * @typedef {Blob | ImageBitmap | ImageData} Photo
 * @typedef {{ slot: number, writtenAt?: number }} Place a slot, and when its entry was written
 * @typedef {{ onProgress: (event: any) => void, isCancelled: () => Promise<boolean> }} JobControl
 *   `onProgress` receives the caption so far; `isCancelled` is called after each token
 */

export class Engine {
  #glue;
  #captioner;
  #memory;
  #instance = instanceNumber();

  /** @param {any} glue @param {any} captioner @param {PersistentMemory} memory */
  constructor(glue, captioner, memory) {
    this.#glue = glue;
    this.#captioner = captioner;
    this.#memory = memory;
  }

  /**
   * @param {import('../loading/assets.js').Sources &
   *   { memory?: string, kept?: Uint8Array }} sources `kept` is the memory of a worker that
   *   crashed, if it was not stored
   * @param {{ onProgress: (event: any) => void, onNotice: (notice: any) => void,
   *   signal: AbortSignal }} control
   */
  static async load({ memory, kept, ...sources }, { onProgress, onNotice, signal }) {
    const { glue, wasm, model, tokenizer } = await loadAssets(sources, onProgress, signal);
    await start(glue, wasm);
    onProgress({ phase: 'start' });
    const captioner = new glue.Captioner(model, tokenizer);
    const engine = new Engine(glue, captioner, new PersistentMemory(captioner, onNotice));
    if (kept) captioner.reloadMemory(kept);
    else if (memory) await engine.#memory.open(memory, onProgress);
    return engine;
  }

  info = () => this.#captioner.modelInfo();

  /**
   * Returns a caption once its change to the memory has been stored.
   * @param {Photo} photo
   * @param {import('../index.js').CaptionOptions} options
   * @param {JobControl} control
   */
  async caption(photo, options, control) {
    const began = performance.now();
    const decoded = await decodePhoto(photo, this.#glue);
    const decoding = performance.now() - began;
    await this.#memory.refresh();
    if (await control.isCancelled()) throw cancelled();
    const generation = begin(this.#captioner, decoded, options);
    if (!(await complete(generation, control))) {
      this.#free(generation);
      throw cancelled();
    }
    const countsRecalls = options.countRecalls !== false;
    const { ms, ...caption } = await this.#memory.change(
      () => this.#captioner.finish(generation),
      ({ slot, recalled }) => slot !== null || (countsRecalls && recalled.length > 0),
    );
    const timings = { ...ms, decode: ms.decode + decoding, total: ms.total + decoding };
    return { ...caption, timings };
  }

  /** @param {number | Photo} target the id of a recent caption, or a photo @param {string} text */
  async correct(target, text) {
    checkCharacters(text);
    if (typeof target === 'number') {
      return this.#memory.change(() => this.#captioner.correct(target, text));
    }
    const generation = begin(this.#captioner, await decodePhoto(target, this.#glue), {});
    return this.#memory.change(() => this.#captioner.teach(generation, text));
  }

  async listMemory() {
    await this.#memory.refresh();
    return this.#captioner.listMemory();
  }

  async memoryStats() {
    await this.#memory.refresh();
    return { ...this.#captioner.memoryStats(), stored: this.#memory.isStored };
  }

  /** @param {Place} place @param {string} text */
  async correctMemory(place, text) {
    checkCharacters(text);
    await this.#memory.change(() => this.#captioner.correctMemory(this.#slotAt(place), text));
  }

  /** @param {Place} place */
  async deleteMemory(place) {
    await this.#memory.change(() => this.#captioner.deleteMemory(this.#slotAt(place)));
  }

  async clearMemory() {
    await this.#memory.change(() => this.#captioner.clearMemory());
  }

  /** Undoes the latest correction, deletion, clearing or import; returns whether there was one. */
  async undoMemory() {
    return this.#memory.change(() => this.#captioner.undoMemory(), (isUndone) => isUndone);
  }

  async exportMemory() {
    await this.#memory.refresh();
    return this.#captioner.exportMemory();
  }

  /**
   * Returns how many of another model's photos could not be migrated.
   * @param {Uint8Array} snapshot
   * @param {'replace' | 'merge'} mode
   * @param {JobControl} control
   */
  async importMemory(snapshot, mode, { onProgress }) {
    const isOwn = this.#captioner.isOwnMemory(snapshot);
    const { snapshot: own, left } =
      isOwn ? { snapshot, left: 0 } : migrateSnapshot(this.#captioner, snapshot, onProgress);
    await this.#memory.change(() =>
      mode === 'merge' ? this.#captioner.mergeMemory(own) : this.#captioner.importMemory(own));
    return left;
  }

  /** @param {'list' | 'export' | 'delete'} what @param {string} name */
  aside(what, name) {
    if (what === 'list') return this.#memory.listAside();
    return what === 'export' ? this.#memory.exportAside(name) : this.#memory.deleteAside(name);
  }

  close() {
    this.#memory.close();
    this.#free(this.#captioner);
  }

  /** Frees an object, unless a trap has ended its instance. @param {{ free: () => void }} object */
  #free(object) {
    if (this.#instance === instanceNumber()) object.free();
  }

  /** The slot, if it still holds the entry that the caller saw. @param {Place} place */
  #slotAt({ slot, writtenAt }) {
    if (writtenAt !== undefined && this.#captioner.writtenAt(slot) !== writtenAt) {
      throw new BitMarError('conflict', `slot ${slot} has changed in the meantime`);
    }
    return slot;
  }
}

/**
 * Refuses half of a character, which the wasm module would replace. It checks everything else.
 * @param {string} text
 */
function checkCharacters(text) {
  if (!/\p{Surrogate}/u.test(text)) return;
  throw new BitMarError('option', 'the caption has half of a surrogate pair');
}

const cancelled = () => new BitMarError('cancelled', 'the job was cancelled');
