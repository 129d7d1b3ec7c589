/** Anything that shows a photo. A URL follows the rules of `fetch`; in Node, `file:` addresses are read, too. */
export type PhotoSource =
  | Blob
  | ArrayBuffer
  | ArrayBufferView
  | ImageBitmap
  | ImageData
  | HTMLImageElement
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | VideoFrame
  | URL
  | string;

export type Progress =
  /** Bytes so far and in all. */
  | { phase: 'download'; loaded: number; total: number }
  /** Everything has arrived; the model is being set up. */
  | { phase: 'start' }
  /** The stored memory is another model's: its photos are being encoded anew. */
  | { phase: 'adopt'; done: number; total: number }
  | { phase: 'ready' };

/** Something that went wrong with the stored memory without ending a job. */
export interface Notice {
  /**
   * After those that begin with `storage` (but `storage-evicted`), the memory lasts until `close()`.
   * - `storage-denied`: this browser, or a private window, does not let the page store anything
   * - `storage-full`: there is no room for the memory
   * - `storage-blocked`: another tab holds an older version of the store open
   * - `storage-outdated`: another tab runs a newer version, whose memory this one cannot read
   * - `storage`: something else
   * - `storage-evicted`: the browser removed the stored memory; the next change stores it again
   * - `memory-adopted`: another model's memory was encoded anew; the old snapshot is set aside
   * - `memory-damaged`: the stored memory could not be read and is set aside
   */
  code:
    | 'storage-denied' | 'storage-full' | 'storage-blocked' | 'storage-outdated' | 'storage'
    | 'storage-evicted' | 'memory-adopted' | 'memory-damaged';
  message: string;
}

export interface LoadOptions {
  /** The folder that holds `wasm/` and `model/`, where they do not lie beside this module. */
  baseUrl?: string | URL;
  /** The wasm file's address, its bytes, or the compiled module. It must fit `BitMar.build()`. */
  wasm?: string | URL | Uint8Array | WebAssembly.Module;
  /** The model's address or bytes. */
  model?: string | URL | Uint8Array;
  /** The tokenizer's address or bytes. */
  tokenizer?: string | URL | Uint8Array;
  /** Keeps the memory in IndexedDB under this name. Without it the memory lasts until `close()`. */
  memory?: { name: string } | false;
  /** Ends the download at once. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  onNotice?: (notice: Notice) => void;
  /**
   * Whether the model runs in a worker of its own; true if not given, but where there are no workers, as in Node.
   * Without one it runs in the calling thread and lets it go on after each token.
   */
  worker?: boolean;
  /** Whether to keep the model in Cache storage; true if not given. A page whose service worker keeps it need not. */
  cache?: boolean;
  /** Starts `worker.js` another way, where a bundler or a policy needs one. */
  createWorker?: () => Worker;
}

export interface CaptionOptions {
  /** How much to say; `medium` if not given. */
  length?: 'short' | 'medium' | 'long';
  /** What the photo is known to show, such as "my dog Rex": captions with these words are preferred. */
  hint?: string;
  /** How many candidates the search keeps, 1 to 8; 1 is greedy. */
  beams?: number;
  /** Whether remembered captions are recalled; true if not given. */
  recall?: boolean;
  /** Whether the memory may keep the caption; true if not given. */
  remember?: boolean;
  /** Whether the memory counts what the caption recalled as used; true if not given. */
  countRecalls?: boolean;
  /** Also tell where the model looked at each word; false if not given. */
  attention?: boolean;
  /** Whether it goes before the captions that wait, as calls to the memory do; false if not given. */
  urgent?: boolean;
  /** Ends the caption at the next token. */
  signal?: AbortSignal;
  /** Hears the best caption so far, whenever it changes. */
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
  thumbnail: Uint8Array<ArrayBuffer>;
}

/** A photo in the memory whose caption this one leaned on. */
export interface Recalled extends Episode {
  /** Its share of what was recalled, 0 to 1. */
  weight: number;
}

/** A photo in the memory, as listed. */
export interface Remembered extends Episode {
  /** Captions it was recalled into. */
  recalls: number;
}

export interface MemoryStats {
  /** Episodes there is room for. */
  slots: number;
  /** Episodes that are remembered. */
  used: number;
  /** Of these, how many the user corrected. */
  corrected: number;
  /** Size of a snapshot. */
  bytes: number;
  /** Whether changes are stored; without that they last until `close()`. */
  stored: boolean;
}

export interface ModelInfo {
  /** Such as `v1`; the first 12 digits of `sha256` for a model that was never released. */
  name: string;
  sha256: string;
  /** The numbers that shape the model. */
  config: Record<string, unknown>;
  /** Commit of the trainer. */
  commit: string;
  trained: unknown;
  version: string;
  /** The integer kernels in use: `relaxed` or `simd128`. */
  kernels: string;
}

/** Milliseconds. */
export interface Timings {
  decode: number;
  vision: number;
  /** Of `vision`, the convolutions. */
  stem: number;
  memory: number;
  text: number;
  /** Of `text`, the fusion of the photo with the words. */
  fusion: number;
  /** Of `text`, the decoder's look at the photo. */
  prefill: number;
  /** `decode`, `vision`, `memory` and `text`. */
  total: number;
}

export interface Caption {
  /** Names this caption for `correct`. */
  id: number;
  text: string;
  /** How many tokens the text has. */
  tokens: number;
  /** Geometric mean of the tokens' probabilities, 0 to 1. */
  confidence: number;
  recalled: Recalled[];
  /** Where the memory keeps it, null if it does not. */
  slot: number | null;
  /** Where the model looked at each word, if the `attention` option asked for it. */
  attention?: Attention;
  timings: Timings;
}

/** Where the model looked, on a grid over the photo. */
export interface Attention {
  /** Columns. */
  width: number;
  /** Rows. */
  height: number;
  /** `start` and `end` are UTF-16 offsets into the text; `map` holds the grid's weights row by row, which sum to 1. */
  words: { start: number; end: number; map: number[] }[];
}

/**
 * What is remembered. Fires `change` whenever it changed, in this tab or in another. Calls go before
 * captions that wait.
 */
export interface Memory extends EventTarget {
  list(): Promise<Remembered[]>;
  stats(): Promise<MemoryStats>;
  /** Gives a remembered photo another caption. What was listed must still be in its slot. */
  correct(entry: Remembered | number, text: string): Promise<void>;
  /** Forgets one episode. What was listed must still be in its slot. */
  delete(entry: Remembered | number): Promise<void>;
  /** Forgets everything, but not what was set aside. */
  clear(): Promise<void>;
  /** Takes back the latest correction, deletion, clearing or import of this session; false if there is none. */
  undo(): Promise<boolean>;
  /** A snapshot: a safetensors file, specified in docs/model-format.md. */
  export(): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Puts a snapshot in the place of what is remembered, or beside it. Another model's is encoded anew,
   * from its thumbnails; gives how many of its photos had none that could be.
   */
  import(snapshot: Uint8Array | ArrayBuffer, options?: { mode?: 'replace' | 'merge' }): Promise<number>;
  /** Names of stored snapshots that could not be used as they were, another model's or damaged: when that was, in UTC. */
  listAside(): Promise<string[]>;
  exportAside(name: string): Promise<Uint8Array<ArrayBuffer>>;
  deleteAside(name: string): Promise<void>;
}

export class BitMar {
  private constructor();

  /**
   * Downloads the model, or reads it where it is stored, and sets it up, in a worker if there are workers.
   * Fails with a `BitMarError`, or with the signal's reason.
   */
  static load(options?: LoadOptions): Promise<BitMar>;

  /** `available`: the model is stored on this device. `unavailable`: no WebAssembly SIMD here. */
  static availability(): Promise<'available' | 'downloadable' | 'unavailable'>;

  /** Removes the model and tokenizer that `load` stored; whether there were any. What a service worker keeps stays. */
  static clearCache(): Promise<boolean>;

  /** The wasm build this browser runs best. */
  static build(): 'relaxed' | 'simd128' | null;

  /** What is loaded. */
  readonly info: ModelInfo;

  readonly memory: Memory;

  /** Captions a photo. Jobs queue; each fails alone. */
  caption(photo: PhotoSource, options?: CaptionOptions): Promise<Caption>;

  /** Yields the best text so far after each change. Leaving the loop cancels the caption. */
  captionStream(photo: PhotoSource, options?: CaptionOptions): AsyncGenerator<string, Caption, void>;

  /** Captions photo after photo. One that fails yields its error, and the rest go on. */
  captionMany<P extends PhotoSource>(
    photos: Iterable<P> | AsyncIterable<P>,
    options?: CaptionOptions,
  ): AsyncGenerator<
    { index: number; photo: P; caption: Caption; error?: undefined } | { index: number; photo: P; caption?: undefined; error: unknown },
    void,
    void
  >;

  /**
   * Teaches what a photo shows: a recent caption's, named by the caption or its id, or any other.
   * Gives the memory's slot. `memory.undo()` takes it back.
   */
  correct(target: Caption | number | PhotoSource, text: string): Promise<number>;

  /** Ends the captioner and gives its memory back. Jobs that wait fail with `closed`. */
  close(): void;
}

export class BitMarError extends Error {
  readonly name: 'BitMarError';
  /**
   * - `photo`: not a photo that can be read
   * - `network`: a download failed
   * - `model`, `tokenizer`: the file is damaged or of another version
   * - `snapshot`: the memory snapshot is damaged or belongs to another model
   * - `memory`: no such caption or slot
   * - `option`: an option is out of its range
   * - `unsupported`: WebAssembly SIMD is lacking here, or workers though `worker: true` asks for one
   * - `closed`: `close()` was called
   * - `internal`: a bug of ours, such as a trap in the WebAssembly module; the next job starts a new worker. Without
   *   a worker, all captioners of the thread go on in a new instance, and what another one was doing fails, too. What
   *   the memory held and was not stored is gone
   */
  readonly code:
    | 'photo' | 'network' | 'model' | 'tokenizer' | 'snapshot' | 'memory'
    | 'option' | 'unsupported' | 'closed' | 'internal';
}
