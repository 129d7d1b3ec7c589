// @ts-check
/**
 * Photo captions in the browser and in Node. `BitMar.load()` loads the model in a worker or in the
 * calling thread; `caption(photo)` describes a photo. index.d.ts documents the types and options.
 */
import { absolute } from './client/address.js';
import { inlineWorker } from './client/inline.js';
import { Memory } from './client/memory.js';
import { checked } from './client/signatures.js';
import { startOwnWorker, startWorker } from './client/start-worker.js';
import { streamed } from './client/stream.js';
import { WorkerClient } from './client/worker-client.js';
import { BitMarError } from './errors.js';
import { clearStored, isStored } from './loading/cache.js';
import { isA } from './is-a.js';
import { locate, modelUrl } from './loading/files.js';
import { supportedBuild } from './wasm-features.js';
import manifest from './wasm/manifest.js';

export { BitMarError };

const newWorker = () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });

/** Makes a URL absolute; bytes and modules stay what they are. @param {any} source */
const resolved = (source) =>
  typeof source === 'string' || isA(source, 'URL') ? absolute(source) : source;

/** A captioner, in a worker of its own or in the calling thread. */
export class BitMar {
  #client;
  /** @type {any} */ #info;

  /** The captions it remembers. */
  memory;

  /** @param {WorkerClient} client @param {any} info @param {Memory} memory */
  constructor(client, info, memory) {
    if (!(client instanceof WorkerClient)) {
      throw new BitMarError('option', 'only BitMar.load() makes a BitMar');
    }
    this.#client = client;
    this.#info = info;
    this.memory = memory;
  }

  /** @param {import('./index.js').LoadOptions} [options] */
  static async load(options) {
    const given = checked('load', options);
    const { signal, onProgress, onNotice, memory, createWorker, worker, ...sources } = given;
    signal?.throwIfAborted();
    const canWork = createWorker !== undefined || typeof Worker !== 'undefined';
    if (!supportedBuild()) {
      throw new BitMarError('unsupported', 'WebAssembly SIMD is not available here');
    }
    if (worker && !canWork) {
      throw new BitMarError('unsupported', 'workers are not available here: leave worker out');
    }
    const { baseUrl, wasm, model, tokenizer, cache } = sources;
    const files = locate({
      baseUrl: baseUrl && resolved(baseUrl),
      wasm: resolved(wasm),
      model: resolved(model),
      tokenizer: resolved(tokenizer),
    });
    const notify = (/** @type {any} */ notice) => {
      if (notice.code === 'changed') remembered.dispatchEvent(new Event('change'));
      else onNotice?.(notice);
    };
    const start = (/** @type {AbortSignal} */ ending) => {
      if (!(worker ?? canWork)) return inlineWorker();
      return createWorker ? startOwnWorker(createWorker, ending) : startWorker(newWorker, ending);
    };
    const client = new WorkerClient(start, { ...files, cache, memory: memory && memory.name }, notify);
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

  static async availability() {
    if (!supportedBuild()) return 'unavailable';
    const model = modelUrl();
    if (model.startsWith('file:')) return 'available';
    return (await isStored(model, manifest.model)) ? 'available' : 'downloadable';
  }

  static async clearCache() {
    return clearStored();
  }

  static build() {
    return supportedBuild();
  }

  get info() {
    return this.#info;
  }

  /** @param {any} photo @param {import('./index.js').CaptionOptions} [options] */
  async caption(photo, options) {
    const { signal, onToken, urgent, ...rest } = checked('caption', photo, options);
    const own = { photo, signal, onEvent: onToken, isUrgent: urgent };
    return this.#client.call('caption', [rest], own);
  }

  /** @param {any} photo @param {import('./index.js').CaptionOptions} [options] */
  async *captionStream(photo, options) {
    const given = checked('captionStream', photo, options);
    return yield* streamed((own) => this.caption(photo, { ...given, ...own }), given);
  }

  /** @param {any} photos @param {import('./index.js').CaptionOptions} [options] */
  async *captionMany(photos, options) {
    const given = checked('captionMany', photos, options);
    let index = 0;
    for await (const photo of photos) {
      try {
        yield { index, photo, caption: await this.caption(photo, given) };
      } catch (error) {
        if (given.signal?.aborted || /** @type {any} */ (error).code === 'closed') throw error;
        yield { index, photo, error };
      }
      index++;
    }
  }

  /** @param {any} target a caption, its id, or a photo @param {string} text */
  async correct(target, text) {
    checked('correct', target, text);
    const id = typeof target === 'number' ? target : target?.id;
    if (typeof id === 'number') return this.#client.call('correct', [id, text], { isUrgent: true });
    return this.#client.call('correct', [text], { photo: target, isUrgent: true });
  }

  close() {
    this.#client.close();
  }
}
