// @ts-check
/** Whole captions of one photo, and where their time goes. Runs in node and in browsers. */
import { median, rounded } from './times.js';

/** Captions of each kind, and starts. */
const ROUNDS = 25;
const STARTS = 7;

/** @typedef {{ decode: number, vision: number, stem: number, memory: number, text: number, fusion: number, prefill: number, total: number }} Timings */
/** @typedef {{ text: string, tokens: number, ms: Timings }} Caption */
/**
 * @typedef {object} Captioner
 * @property {(beams: number) => Promise<Caption>} caption captions the photo, warm
 * @property {(words: string) => Promise<void>} remember fills the memory and corrects the photo's caption in it
 */

/** What the photo is corrected to. */
const OWN_WORDS = 'Rex asleep beside a cup of coffee';

/** @type {Record<string, (caption: Caption) => number>} */
const STAGES = {
  decode: ({ ms }) => ms.decode,
  stem: ({ ms }) => ms.stem,
  blocks: ({ ms }) => ms.vision - ms.stem,
  fusion: ({ ms }) => ms.fusion,
  memory: ({ ms }) => ms.memory,
  prefill: ({ ms }) => ms.prefill,
  tokens: ({ ms }) => ms.text - ms.fusion - ms.prefill,
};

/**
 * @param {() => Promise<Captioner>} start a captioner from cached bytes
 * @param {{ runtime: string, build: string }} where
 * @param {(line: object) => void} report
 */
export async function captions(start, where, report) {
  const line = (/** @type {string} */ name, /** @type {number[]} */ times, parts = {}) =>
    report({
      case: name, ...where, median_ms: rounded(median(times), 3), min_ms: rounded(Math.min(...times), 3),
      gops: null, ratio: {}, ...parts,
    });
  const starts = [];
  let captioner = null;
  for (let round = 0; round < STARTS; round++) {
    const began = performance.now();
    captioner = await start();
    starts.push(performance.now() - began);
  }
  line('startup', starts);
  const { caption, remember } = /** @type {Captioner} */ (captioner);
  const searched = await many(caption, 3);
  const greedy = await many(caption, 1);
  const parts = Object.entries(STAGES).map(([name, stage]) => [name, rounded(median(searched.map(stage)), 3)]);
  line('caption', searched.map(({ ms }) => ms.total), { parts_ms: Object.fromEntries(parts) });
  line('vision', searched.map(({ ms }) => ms.vision));
  // The end of the caption is a token, too.
  line('decode_token', greedy.map((caption) => STAGES.tokens(caption) / (caption.tokens + 1)));
  await remember(OWN_WORDS);
  const reminded = await many(caption, 3);
  if (reminded[0].text !== OWN_WORDS) throw new Error('the memory was not read');
  const prefill = median(searched.map(STAGES.prefill));
  line('memory_512', reminded.map(({ ms }) => ms.memory + ms.prefill - prefill), {
    parts_ms: { memory: rounded(median(reminded.map(STAGES.memory)), 3) },
  });
}

/** Captions of a warm captioner, all of which must say the same. @param {Captioner['caption']} caption @param {number} beams */
async function many(caption, beams) {
  const all = [];
  for (let round = 0; round < ROUNDS + 5; round++) all.push(await caption(beams));
  const [{ text, tokens }] = all;
  if (tokens < 4) throw new Error(`no caption: ${text}`);
  if (all.some((other) => other.text !== text)) throw new Error('the same photo was captioned otherwise');
  return all.slice(5);
}
