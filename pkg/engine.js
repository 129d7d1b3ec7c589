// @ts-check
/** The captioner behind the worker's messages: one photo at a time, and the memory kept stored. */
import { loadAssets } from './assets.js';
import { BitMarError } from './errors.js';
import { readPhoto } from './pixels.js';
import { SnapshotStore } from './store.js';

export class Engine {
  #captioner;
  #notice;
  /** @type {SnapshotStore | null} */ #store = null;

  /** @param {any} captioner @param {(notice: { code: string, message: string }) => void} notice */
  constructor(captioner, notice) {
    this.#captioner = captioner;
    this.#notice = notice;
  }

  /**
   * @param {import('./assets.js').Sources & { memory?: string }} sources
   * @param {(event: any) => void} report hears how far loading is
   * @param {(notice: { code: string, message: string }) => void} notice hears what goes wrong without ending a job
   */
  static async load({ memory, ...sources }, report, notice) {
    const { glue, model, tokenizer } = await loadAssets(sources, report);
    report({ phase: 'start' });
    const engine = new Engine(new glue.Captioner(model, tokenizer), notice);
    if (memory) await engine.#openStore(memory);
    return engine;
  }

  /** What `modelInfo` of the wasm module tells. */
  info() {
    return this.#captioner.modelInfo();
  }

  /**
   * Captions a photo.
   * @param {Blob | ImageBitmap | ImageData} photo
   * @param {{ length?: string, hint?: string, beams?: number, remember?: boolean }} options
   * @param {(text: string) => void} onText hears the best caption so far whenever it changes
   * @param {() => Promise<boolean>} isCancelled asked after each token
   */
  async caption(photo, options, onText, isCancelled) {
    const start = performance.now();
    const read = await readPhoto(photo);
    const inBrowser = performance.now() - start;
    if (await isCancelled()) throw cancelled();
    const generation =
      read instanceof Uint8Array
        ? this.#captioner.begin(read, given(options))
        : this.#captioner.beginRgba(read.width, read.height, asBytes(read.data), given(options));
    let text = '';
    while (generation.step()) {
      if (generation.text() !== text) onText((text = generation.text()));
      if (await isCancelled()) {
        generation.free();
        throw cancelled();
      }
    }
    const { ms, ...caption } = this.#captioner.finish(generation);
    await this.#save();
    return { ...caption, timings: { ...ms, decode: ms.decode + inBrowser, total: ms.total + inBrowser } };
  }

  /** @param {number} id of a recent caption @param {string} text what its photo shows */
  async correct(id, text) {
    const slot = this.#captioner.correct(id, text);
    await this.#save();
    return slot;
  }

  listMemory() {
    return this.#captioner.listMemory();
  }

  /** @param {number} slot */
  async deleteMemory(slot) {
    this.#captioner.deleteMemory(slot);
    await this.#save();
  }

  async clearMemory() {
    this.#captioner.clearMemory();
    await this.#save();
  }

  exportMemory() {
    return this.#captioner.exportMemory();
  }

  /** @param {Uint8Array} snapshot */
  async importMemory(snapshot) {
    this.#captioner.importMemory(snapshot);
    await this.#save();
  }

  /** @param {string} name */
  async #openStore(name) {
    const store = new SnapshotStore(name);
    try {
      const snapshot = await store.load();
      if (snapshot) await this.#restore(store, snapshot);
      this.#store = store;
    } catch (error) {
      this.#goOnWithoutStore(error);
    }
  }

  /** @param {SnapshotStore} store @param {Uint8Array} snapshot */
  async #restore(store, snapshot) {
    try {
      this.#captioner.importMemory(snapshot);
    } catch (/** @type {any} */ error) {
      if (error.code !== 'snapshot') throw error;
      await store.setAside(snapshot);
      this.#notice({ code: 'snapshot', message: error.message });
    }
  }

  async #save() {
    try {
      await this.#store?.save(this.#captioner.exportMemory());
    } catch (error) {
      this.#goOnWithoutStore(error);
    }
  }

  /** @param {any} error */
  #goOnWithoutStore(error) {
    this.#store = null;
    this.#notice({ code: 'storage', message: String(error?.message ?? error) });
  }
}

/** Without what is there but undefined, which is as good as not given. @param {object} options */
const given = (options) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** @param {Uint8Array | Uint8ClampedArray} data the same bytes, as wasm-bindgen takes them */
const asBytes = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

const cancelled = () => new BitMarError('cancelled', 'the caption was cancelled');
