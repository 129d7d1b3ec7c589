// @ts-check
/**
 * Photo captions in the browser and in Node. `BitMar.load()` starts a worker with the model in it, or sets the
 * model up in this thread; `caption(photo)` asks it. Types and options are described in index.d.ts.
 */
import { Memory } from './client/memory.js';
import { toSendable } from './client/photo-source.js';
import { streamed } from './client/stream.js';
import { WorkerClient } from './client/worker-client.js';
import { BitMarError } from './errors.js';
import { clearStored, isStored } from './loading/cache.js';
import { supportedBuild } from './wasm-features.js';
import manifest from './wasm/manifest.js';

export { BitMarError };

const newWorker = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });

/** Fetched only where it is used: with workers, the page needs no engine. */
async function inlineWorker() {
  const { InlineWorker } = await import('./engine/inline-worker.js');
  return () => new InlineWorker();
}

/** A URL made absolute, for a worker has another base; anything else as it is. @param {any} source */
const absolute = (source) =>
  typeof source === 'string' || source instanceof URL
    ? new URL(source, globalThis.document?.baseURI).href
    : source;

/** A captioner, in its own worker or in this thread. */
export class BitMar {
  #client;
  /** @type {any} */ #info;

  /** What the captioner remembers. */
  memory;

  /** @param {WorkerClient} client @param {any} info @param {Memory} memory */
  constructor(client, info, memory) {
    this.#client = client;
    this.#info = info;
    this.memory = memory;
  }

  /** @param {import('./index.js').LoadOptions} [options] */
  static async load({ signal, onProgress, onNotice, memory, createWorker, worker, ...sources } = {}) {
    signal?.throwIfAborted();
    const canWork = createWorker !== undefined || typeof Worker !== 'undefined';
    if (!supportedBuild() || (worker && !canWork)) {
      throw new BitMarError('unsupported', 'WebAssembly SIMD or workers are lacking here');
    }
    const { baseUrl, wasm, model, tokenizer, cache } = sources;
    const load = {
      baseUrl: baseUrl && absolute(baseUrl),
      wasm: absolute(wasm),
      model: absolute(model),
      tokenizer: absolute(tokenizer),
      cache,
      memory: memory ? memory.name : undefined,
    };
    const hear = (/** @type {any} */ notice) =>
      notice.code === 'changed' ? remembered.dispatchEvent(new Event('change')) : onNotice?.(notice);
    const create = worker ?? canWork ? createWorker ?? newWorker : await inlineWorker();
    const client = new WorkerClient(create, () => ({ args: [load] }), hear);
    const remembered = new Memory(client);
    const stop = () => client.close();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const bitmar = new BitMar(client, await client.start(onProgress), remembered);
      onProgress?.({ phase: 'ready' });
      return bitmar;
    } catch (error) {
      client.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Whether this browser can caption at all, and whether the model is already stored here. */
  static async availability() {
    if (!supportedBuild()) return 'unavailable';
    const model = new URL('./model/model.safetensors', import.meta.url);
    if (model.protocol === 'file:') return 'available';
    return (await isStored(model.href, manifest.model)) ? 'available' : 'downloadable';
  }

  /** Removes the files that `load` stored; whether there were any. What a service worker keeps stays. */
  static async clearCache() {
    return clearStored();
  }

  /** The wasm build this browser runs best. */
  static build() {
    return supportedBuild();
  }

  /** The loaded model's name, sizes and build. */
  get info() {
    return this.#info;
  }

  /** @param {any} photo @param {import('./index.js').CaptionOptions} [options] */
  async caption(photo, { signal, onToken, urgent, ...options } = {}) {
    const prepare = async () => {
      const { sendable, transfer } = await toSendable(photo, signal);
      return { args: [sendable, options], transfer };
    };
    return this.#client.call('caption', prepare, { signal, onEvent: onToken, isUrgent: urgent });
  }

  /** @param {any} photo @param {import('./index.js').CaptionOptions} [options] */
  captionStream(photo, options = {}) {
    return streamed((own) => this.caption(photo, { ...options, ...own }), options);
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
      const { sendable, transfer } = await toSendable(target);
      return { args: [sendable, text], transfer };
    };
    return this.#client.call('correct', prepare, { isUrgent: true });
  }

  /** Ends the captioner and gives its memory back. */
  close() {
    this.#client.close();
  }
}
