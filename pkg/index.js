// @ts-check
/**
 * Photo captions in the browser. `BitMar.load()` starts a worker with the model in it;
 * `caption(photo)` asks it. Types and options are described in index.d.ts.
 */
import { BitMarError } from './errors.js';
import { supportedBuild } from './features.js';
import { Memory } from './memory.js';
import { toSendable } from './photo.js';
import { WorkerLink } from './rpc.js';
import { streamed } from './stream.js';

export { BitMarError };

const newWorker = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });

/** A URL made absolute, for a worker has another base; anything else as it is. @param {any} source */
const absolute = (source) =>
  typeof source === 'string' || source instanceof URL
    ? new URL(source, globalThis.document?.baseURI).href
    : source;

/** A captioner in its own worker. */
export class BitMar {
  #link;
  /** @type {any} */ #info;

  /** What the captioner remembers. */
  memory;

  /** @param {WorkerLink} link @param {any} info @param {Memory} memory */
  constructor(link, info, memory) {
    this.#link = link;
    this.#info = info;
    this.memory = memory;
  }

  /** @param {import('./index.js').LoadOptions} [options] */
  static async load({ signal, onProgress, onNotice, memory, createWorker = newWorker, ...sources } = {}) {
    signal?.throwIfAborted();
    if (!supportedBuild() || typeof Worker === 'undefined') {
      throw new BitMarError('unsupported', 'this browser lacks WebAssembly SIMD or workers');
    }
    const { baseUrl, wasm, model, tokenizer } = sources;
    const load = {
      baseUrl: baseUrl && absolute(baseUrl),
      wasm: absolute(wasm),
      model: absolute(model),
      tokenizer: absolute(tokenizer),
      memory: memory ? memory.name : undefined,
    };
    const hear = (/** @type {any} */ notice) =>
      notice.code === 'changed' ? remembered.dispatchEvent(new Event('change')) : onNotice?.(notice);
    const link = new WorkerLink(createWorker, () => ({ args: [load] }), hear);
    const remembered = new Memory(link);
    const stop = () => link.close();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const bitmar = new BitMar(link, await link.start(onProgress), remembered);
      onProgress?.({ phase: 'ready' });
      return bitmar;
    } catch (error) {
      link.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Whether this browser can caption at all, and whether the model is already stored here. */
  static async availability() {
    if (!supportedBuild() || typeof Worker === 'undefined') return 'unavailable';
    const model = new URL('./model/model.safetensors', import.meta.url);
    const isStored = await globalThis.caches?.match(model, { ignoreVary: true }).catch(() => undefined);
    return isStored ? 'available' : 'downloadable';
  }

  /** The wasm build this browser runs best. */
  static build() {
    return supportedBuild();
  }

  /** The loaded model's name, sizes and build. */
  get info() {
    return this.#info;
  }

  /** @param {any} image @param {import('./index.js').CaptionOptions} [options] */
  async caption(image, { signal, onToken, ...options } = {}) {
    const prepare = async () => {
      const { photo, transfer } = await toSendable(image, signal);
      return { args: [photo, options], transfer };
    };
    return this.#link.call('caption', prepare, { signal, onEvent: onToken });
  }

  /** @param {any} image @param {import('./index.js').CaptionOptions} [options] */
  captionStream(image, options = {}) {
    return streamed((own) => this.caption(image, { ...options, ...own }), options);
  }

  /** @param {any} photos @param {import('./index.js').CaptionOptions} [options] */
  async *captionMany(photos, options = {}) {
    let index = 0;
    for await (const photo of photos) {
      try {
        yield { index, photo, caption: await this.caption(photo, options) };
      } catch (error) {
        if (options.signal?.aborted || /** @type {any} */ (error).code === 'closed') throw error;
        yield { index, photo, error };
      }
      index++;
    }
  }

  /** @param {any} target a caption, its id, or a photo @param {string} text */
  async correct(target, text) {
    const id = typeof target === 'number' ? target : target?.id;
    const prepare = async () => {
      if (typeof id === 'number') return { args: [id, text] };
      const { photo, transfer } = await toSendable(target);
      return { args: [photo, text], transfer };
    };
    return this.#link.call('correct', prepare, { isShort: true });
  }

  /** Ends the worker and gives its memory back. */
  close() {
    this.#link.close();
  }
}
