/** A global class's instances, or `never` where the class does not exist: not each host has the DOM. */
type Global<Name extends string> =
  typeof globalThis extends { [name in Name]: { prototype: infer Instance } } ? Instance : never;

type WebAssemblyModule =
  typeof globalThis extends { WebAssembly: { Module: { prototype: infer Module } } } ? Module : never;

/** Bytes that own their buffer: generic since TypeScript 5.7. */
type Bytes = ReturnType<Uint8Array['slice']>;

/**
 * A photo: an encoded file, decoded pixels, or an element that shows one. A URL follows the rules
 * of `fetch`; in Node, `file:` URLs work too. An image element is loaded if it is lazy.
 */
export type PhotoSource =
  | Global<'Blob'>
  | ArrayBuffer
  | ArrayBufferView
  | Global<'ImageBitmap'>
  | Global<'ImageData'>
  | Global<'HTMLImageElement'>
  | Global<'HTMLVideoElement'>
  | Global<'HTMLCanvasElement'>
  | Global<'OffscreenCanvas'>
  | Global<'VideoFrame'>
  | Global<'URL'>
  | string;

export type Progress =
  /** In bytes. */
  | { phase: 'download'; loaded: number; total: number }
  /** Everything has been downloaded, and the model is being set up. */
  | { phase: 'start' }
  /** Another model wrote the stored memory, and its photos are being encoded again. */
  | { phase: 'adopt'; done: number; total: number }
  | { phase: 'ready' };

/** A problem with the stored memory that does not fail a job. */
export interface Notice {
  /**
   * After a code that begins with `storage`, except `storage-evicted`, the memory is no longer
   * stored and lasts until `close()`.
   * - `storage-denied`: this browser or private window does not let the page store anything
   * - `storage-full`: there is not enough space for the memory
   * - `storage-blocked`: another tab has an older version of the database open
   * - `storage-outdated`: another tab runs a newer version, whose memory this one cannot read
   * - `storage`: storing failed for another reason
   * - `storage-evicted`: the browser removed the stored memory; the next change stores it again
   * - `memory-adopted`: another model's memory was migrated; the old snapshot is set aside
   * - `memory-damaged`: the stored memory could not be read and is set aside
   */
  code:
    | 'storage-denied' | 'storage-full' | 'storage-blocked' | 'storage-outdated' | 'storage'
    | 'storage-evicted' | 'memory-adopted' | 'memory-damaged';
  message: string;
}

export interface LoadOptions {
  /**
   * The folder that holds `wasm/` and `model/`, with or without a last slash; the folder of this
   * module by default.
   */
  baseUrl?: string | Global<'URL'>;
  /** The wasm file's URL or bytes, or the compiled module. It must fit `BitMar.build()`. */
  wasm?: string | Global<'URL'> | Uint8Array | WebAssemblyModule;
  /** The model's URL or bytes. */
  model?: string | Global<'URL'> | Uint8Array;
  /** The tokenizer's URL or bytes. */
  tokenizer?: string | Global<'URL'> | Uint8Array;
  /** Stores the memory in IndexedDB under this name. By default it lasts until `close()`. */
  memory?: { name: string } | false;
  /** Aborts the download. */
  signal?: Global<'AbortSignal'>;
  onProgress?: (progress: Progress) => void;
  onNotice?: (notice: Notice) => void;
  /**
   * Whether to run the model in a worker of its own. The default is true where workers exist, which
   * excludes Node. Without a worker, the model runs in the calling thread and yields to it after
   * each token.
   */
  worker?: boolean;
  /**
   * Whether to keep the model in Cache storage; true by default. A page whose service worker keeps
   * it can pass false.
   */
  cache?: boolean;
  /** Starts `worker.js`, for bundlers or security policies that require another way. */
  createWorker?: () => Global<'Worker'>;
}

export interface CaptionOptions {
  /** How long the caption should be; `medium` by default. */
  length?: 'short' | 'medium' | 'long';
  /**
   * What the photo is known to show, such as "my dog Rex", in at most 64 tokens; captions with it
   * are preferred.
   */
  hint?: string;
  /** Candidates that the beam search keeps, 1 to 8; 1 is greedy. */
  beams?: number;
  /** Whether remembered captions may be recalled; true by default. */
  recall?: boolean;
  /** Whether the caption may be added to the memory; true by default. */
  remember?: boolean;
  /** Whether the memory counts the captions that this one recalled as used; true by default. */
  countRecalls?: boolean;
  /** Whether to return where the model looked for each word; false by default. */
  attention?: boolean;
  /** Whether to go ahead of waiting captions, as calls to the memory do; false by default. */
  urgent?: boolean;
  /** Cancels the caption, at the next token if it is being generated. */
  signal?: Global<'AbortSignal'>;
  /** Called with the best caption so far whenever it changes. */
  onToken?: (text: string) => void;
}

/** A photo in the memory. */
export interface Episode {
  slot: number;
  text: string;
  /** Whether the user wrote the text. */
  corrected: boolean;
  /** When the text was written, in milliseconds since 1970. */
  writtenAt: number;
  /** A JPEG of at most 64 x 64 pixels. */
  thumbnail: Bytes;
}

/** A remembered photo that influenced a caption. */
export interface Recalled extends Episode {
  /** Its share of all that was recalled, 0 to 1. */
  weight: number;
}

/** A photo in the memory, as listed. */
export interface Remembered extends Episode {
  /** How many captions have recalled it. */
  recalls: number;
}

export interface MemoryStats {
  /** The memory's capacity in episodes. */
  slots: number;
  /** How many episodes it holds. */
  used: number;
  /** How many of them the user corrected. */
  corrected: number;
  /** The size of a snapshot. */
  bytes: number;
  /** Whether changes are stored; otherwise they last until `close()`. */
  stored: boolean;
}

export interface ModelInfo {
  /** Such as `v1`; the first 12 digits of `sha256` for a model that was never released. */
  name: string;
  sha256: string;
  /** The model's dimensions and settings. */
  config: Record<string, unknown>;
  /** The commit of the trainer. */
  commit: string;
  trained: unknown;
  version: string;
  /** The integer kernels in use: `relaxed` or `simd128`. */
  kernels: string;
}

/** In milliseconds. */
export interface Timings {
  decode: number;
  vision: number;
  /** The convolutions, a part of `vision`. */
  stem: number;
  memory: number;
  text: number;
  /** The fusion of photo and words, a part of `text`. */
  fusion: number;
  /** The decoder's pass over the photo, a part of `text`. */
  prefill: number;
  /** The sum of `decode`, `vision`, `memory` and `text`. */
  total: number;
}

/** A thing that the model recognizes in a photo. */
export interface Tag {
  /** A noun of the model's list. */
  name: string;
  /** How probable it is that one of five people would mention it, 0 to 1, in thousandths. */
  probability: number;
}

export interface Caption {
  /** Identifies this caption for `correct`. */
  id: number;
  text: string;
  /** The length of the text in tokens. */
  tokens: number;
  /** The geometric mean of the tokens' probabilities, 0 to 1. */
  confidence: number;
  /**
   * The things in the photo of at least 0.2 probability, the most probable first. Absent if the
   * model has no tag head, as the one of this package.
   */
  tags?: Tag[];
  recalled: Recalled[];
  /** The memory slot that holds the caption, null if it was not remembered. */
  slot: number | null;
  /** Where the model looked for each word, if the option `attention` was set. */
  attention?: Attention;
  timings: Timings;
}

/** Where the model looked, on a grid over the photo. */
export interface Attention {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /**
   * `start` and `end` are UTF-16 offsets into the text. `map` holds the weights of the grid's cells
   * row by row; they sum to 1.
   */
  words: { start: number; end: number; map: number[] }[];
}

/**
 * The captions a captioner remembers. Fires `change` after every change, in this tab or another.
 * Calls go ahead of waiting captions.
 */
export interface Memory extends Global<'EventTarget'> {
  list(): Promise<Remembered[]>;
  stats(): Promise<MemoryStats>;
  /**
   * Replaces the caption of a remembered photo by one line of 1 to 500 code points. A listed entry
   * must still be in its slot.
   */
  correct(entry: Remembered | number, text: string): Promise<void>;
  /** Deletes an episode. A listed entry must still be in its slot. */
  delete(entry: Remembered | number): Promise<void>;
  /** Deletes all episodes, but not the snapshots that were set aside. */
  clear(): Promise<void>;
  /** Undoes the latest correction, deletion, clearing or import; false if there is none. */
  undo(): Promise<boolean>;
  /** Returns a snapshot: a safetensors file, specified in docs/model-format.md. */
  export(): Promise<Bytes>;
  /**
   * Replaces the memory with a snapshot, or merges the snapshot into it. If another model wrote the
   * snapshot, its photos are encoded again from their thumbnails. Returns the number of photos that
   * could not be.
   */
  import(
    snapshot: Uint8Array | ArrayBuffer,
    options?: { mode?: 'replace' | 'merge' },
  ): Promise<number>;
  /**
   * Lists the stored snapshots that could not be used as they were, because they were damaged or
   * another model's. Each is named by the time it was set aside, in UTC.
   */
  listAside(): Promise<string[]>;
  exportAside(name: string): Promise<Bytes>;
  deleteAside(name: string): Promise<void>;
}

export class BitMar {
  private constructor();

  /**
   * Loads the model from storage or the network and sets it up, in a worker where workers exist.
   * Fails with a `BitMarError` or with the signal's reason.
   */
  static load(options?: LoadOptions): Promise<BitMar>;

  /** `available`: the model is stored on this device. `unavailable`: no WebAssembly SIMD. */
  static availability(): Promise<'available' | 'downloadable' | 'unavailable'>;

  /**
   * Deletes the model and the tokenizer that `load` stored; returns whether there were any. What a
   * service worker keeps is not deleted.
   */
  static clearCache(): Promise<boolean>;

  /** The faster of the wasm builds that run in this browser, null if none does. */
  static build(): 'relaxed' | 'simd128' | null;

  /** The loaded model. */
  readonly info: ModelInfo;

  readonly memory: Memory;

  /**
   * Captions a photo. Jobs run one after another, and a failure does not affect the others. While
   * a photo has not arrived, those behind it go first; after 30 seconds without a byte, the job
   * fails.
   */
  caption(photo: PhotoSource, options?: CaptionOptions): Promise<Caption>;

  /** Yields the best text so far after each change. Leaving the loop cancels the caption. */
  captionStream(
    photo: PhotoSource,
    options?: CaptionOptions,
  ): AsyncGenerator<string, Caption, void>;

  /** Captions one photo after another. For a photo that fails it yields the error and goes on. */
  captionMany<P extends PhotoSource>(
    photos: Iterable<P> | AsyncIterable<P>,
    options?: CaptionOptions,
  ): AsyncGenerator<
    | { index: number; photo: P; caption: Caption; error?: undefined }
    | { index: number; photo: P; caption?: undefined; error: unknown },
    void,
    void
  >;

  /**
   * Teaches what a photo shows: the photo of a recent caption, given by the caption or its id, or
   * any other photo. The text is one line of 1 to 500 Unicode code points in any script, which come
   * back as they are; white space around it is dropped. Returns the memory slot. `memory.undo()`
   * undoes it.
   */
  correct(target: Caption | number | PhotoSource, text: string): Promise<number>;

  /** Stops the captioner and frees its memory. Running and waiting jobs fail with `closed`. */
  close(): void;
}

export class BitMarError extends Error {
  readonly name: 'BitMarError';
  /**
   * - `photo`: this is not a photo, or one that cannot be read: it was closed or transferred, its
   *   file has changed, or its pixels belong to another origin
   * - `network`: a download failed, nothing of it arrived for 30 seconds, or an image element was
   *   not loaded in that time
   * - `model`, `tokenizer`: the file is damaged or of another version
   * - `snapshot`: the memory snapshot is damaged or belongs to another model
   * - `memory`: there is no such caption or slot
   * - `conflict`: the remembered caption has changed since it was listed
   * - `caption-empty`, `caption-too-long`: a correction has no characters, or more than 500
   * - `option`: an argument or an option is unknown, missing, of another type or out of range, or a
   *   correction has a line break or another control character; nothing was done
   * - `unsupported`: there is no WebAssembly SIMD here, or a policy forbids WebAssembly or the
   *   worker, or there are no workers although `worker: true` asks for one
   * - `cancelled`: the job was cancelled
   * - `closed`: `close()` was called
   * - `internal`: a bug in this package, such as a trap in the WebAssembly module. The next job
   *   starts a new worker. Without a worker, all captioners of the thread continue in a new
   *   instance, and their running jobs fail too. The memory is as it was after its last change; what
   *   could be undone is lost
   */
  readonly code:
    | 'photo' | 'network' | 'model' | 'tokenizer' | 'snapshot' | 'memory' | 'conflict'
    | 'caption-empty' | 'caption-too-long' | 'option' | 'unsupported' | 'cancelled' | 'closed'
    | 'internal';
  /**
   * Why a photo's file cannot be read, if the code is `photo`.
   * - `unsupported`: neither this browser nor this package reads its `format`
   * - `not-a-photo`: it is something else, or a drawing without pixels
   * - `too-large`: it has more than 100 million pixels
   * - `truncated`: a part of it is missing, as after a download that broke off
   * - `damaged`, `empty`
   */
  readonly reason?:
    | 'unsupported' | 'not-a-photo' | 'too-large' | 'truncated' | 'damaged' | 'empty';
  /** The format that is not supported, such as `HEIC`. */
  readonly format?: string;
}
