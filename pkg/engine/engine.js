// @ts-check
/** The captioner behind the worker's messages: one photo at a time, and the memory kept stored. */
import { BitMarError } from '../errors.js';
import { loadAssets } from '../loading/assets.js';
import { migrateSnapshot } from '../storage/migrate-snapshot.js';
import { PersistentMemory } from '../storage/persistent-memory.js';
import { decodePhoto } from './decode-image.js';
import { begin, complete } from './generate.js';
import { instanceNumber, start } from './wasm-instance.js';

/** @typedef {Blob | ImageBitmap | ImageData} Photo */
/** @typedef {{ slot: number, writtenAt?: number }} Place a slot, and when what is meant was written there */
/**
 * What a long call reports to and asks. `onProgress` is called with the best caption so far or with how far an import
 * is; `isCancelled` is asked after each token.
 * @typedef {{ onProgress: (event: any) => void, isCancelled: () => Promise<boolean> }} JobControl
 */

export class Engine {
  #captioner;
  #memory;
  #instance = instanceNumber();

  /** @param {any} captioner @param {PersistentMemory} memory */
  constructor(captioner, memory) {
    this.#captioner = captioner;
    this.#memory = memory;
  }

  /**
   * @param {import('../loading/assets.js').Sources & { memory?: string }} sources
   * @param {object} control
   * @param {(event: any) => void} control.onProgress
   * @param {(notice: { code: string, message: string }) => void} control.onNotice
   * @param {AbortSignal} control.signal ends the download
   */
  static async load({ memory, ...sources }, { onProgress, onNotice, signal }) {
    const { glue, wasm, model, tokenizer } = await loadAssets(sources, onProgress, signal);
    await start(glue, wasm);
    onProgress({ phase: 'start' });
    const captioner = new glue.Captioner(model, tokenizer);
    const engine = new Engine(captioner, new PersistentMemory(captioner, onNotice));
    if (memory) await engine.#memory.open(memory, onProgress);
    return engine;
  }

  info = () => this.#captioner.modelInfo();

  /**
   * Captions a photo. The caption is given when what it leaves in the memory is stored.
   * @param {Photo} photo
   * @param {import('../index.js').CaptionOptions} options
   * @param {JobControl} control
   */
  async caption(photo, options, control) {
    const began = performance.now();
    const decoded = await decodePhoto(photo);
    const inBrowser = performance.now() - began;
    await this.#memory.refresh();
    if (await control.isCancelled()) throw cancelled();
    const generation = begin(this.#captioner, decoded, options);
    if (!(await complete(generation, control))) {
      this.#free(generation);
      throw cancelled();
    }
    const { ms, ...caption } = await this.#memory.change(
      () => this.#captioner.finish(generation),
      ({ slot, recalled }) => slot !== null || (options.countRecalls !== false && recalled.length > 0),
    );
    return { ...caption, timings: { ...ms, decode: ms.decode + inBrowser, total: ms.total + inBrowser } };
  }

  /** @param {number | Photo} target the id of a recent caption, or a photo @param {string} text what it shows */
  async correct(target, text) {
    if (typeof target === 'number') return this.#memory.change(() => this.#captioner.correct(target, text));
    const generation = begin(this.#captioner, await decodePhoto(target), {});
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

  /** @param {Place} place @param {string} text what its photo shows */
  async correctMemory(place, text) {
    await this.#memory.change(() => this.#captioner.correctMemory(this.#slotAt(place), text));
  }

  /** @param {Place} place */
  async deleteMemory(place) {
    await this.#memory.change(() => this.#captioner.deleteMemory(this.#slotAt(place)));
  }

  async clearMemory() {
    await this.#memory.change(() => this.#captioner.clearMemory());
  }

  /** Takes back the latest correction, deletion, clearing or import; whether there was one. */
  async undoMemory() {
    return this.#memory.change(() => this.#captioner.undoMemory(), (isUndone) => isUndone);
  }

  async exportMemory() {
    await this.#memory.refresh();
    return this.#captioner.exportMemory();
  }

  /**
   * @param {Uint8Array} snapshot
   * @param {'replace' | 'merge'} mode
   * @param {JobControl} control
   * @returns how many of another model's photos could not be encoded
   */
  async importMemory(snapshot, mode, { onProgress }) {
    const isOwn = this.#captioner.isOwnMemory(snapshot);
    const migrated = isOwn ? { snapshot, left: 0 } : migrateSnapshot(this.#captioner, snapshot, onProgress);
    await this.#memory.change(() =>
      mode === 'merge' ? this.#captioner.mergeMemory(migrated.snapshot) : this.#captioner.importMemory(migrated.snapshot));
    return migrated.left;
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

  /** @param {{ free: () => void }} held by the wasm instance; nothing is left of it after a trap */
  #free(held) {
    if (this.#instance === instanceNumber()) held.free();
  }

  /** The slot, if it still holds what the caller saw. @param {Place} place */
  #slotAt({ slot, writtenAt }) {
    if (writtenAt !== undefined && this.#captioner.writtenAt(slot) !== writtenAt) {
      throw new BitMarError('memory', `slot ${slot} has changed meanwhile`);
    }
    return slot;
  }
}

const cancelled = () => new BitMarError('cancelled', 'it was cancelled');
