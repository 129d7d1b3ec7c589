// @ts-check
/** The command line: the commands and options of the native program (src/bin/bitmar). */
import { parseArgs } from 'node:util';
import { UsageError } from './failure.js';
import { STDIN } from './input.js';

/**
 * @typedef {object} Settings
 * @property {string} memory the file of the memory, empty if there is none
 * @property {string} model the folder of the model, empty if none is named
 * @property {boolean} json
 * @property {boolean} remember whether captions change the memory's file
 * @property {import('../index.js').CaptionOptions} options
 */

const LENGTHS = ['short', 'medium', 'long'];
const MAX_BEAMS = 8;
/** Slots are 32 bits wide in WebAssembly. */
const MAX_NUMBER = 2 ** 32 - 1;

/** How many words each command takes after its name. @type {Record<string, number>} */
const WORDS = {
  help: 0, info: 0, correct: 2, 'memory list': 0, 'memory delete': 1, 'memory export': 0,
  'memory import': 1, 'memory clear': 0,
};

/** @type {import('node:util').ParseArgsConfig['options'] & {}} */
const OPTIONS = {
  memory: { type: 'string' },
  model: { type: 'string' },
  length: { type: 'string' },
  hint: { type: 'string' },
  beams: { type: 'string' },
  'no-write': { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'V' },
};

/**
 * @param {string[]} args
 * @returns {{ name: string, words: string[], settings: Settings }}
 */
export function parse(args) {
  const { values, words } = split(args);
  for (const name of ['memory', 'model']) {
    if (values[name] === '') throw new UsageError(`--${name} is empty`);
  }
  const { memory = '', model = '', json = false } = values;
  const remember = Boolean(memory && !values['no-write']);
  const settings = { memory, model, json, remember, options: {} };
  if (values.help) return { name: 'help', words: [], settings };
  if (values.version) return { name: 'version', words: [], settings };
  const command = named(words);
  if (command.name === 'caption') settings.options = captionOptions(values);
  else if (/^correct|^memory/.test(command.name) && !memory) {
    throw new UsageError('name the file of the memory with --memory');
  }
  return { ...command, settings };
}

/** @param {string[]} args @returns {{ values: any, words: string[] }} */
function split(args) {
  try {
    const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true });
    return { values, words: positionals };
  } catch (/** @type {any} */ { message }) {
    throw new UsageError(message);
  }
}

/** The command and the words after its name. @param {string[]} words */
function named(words) {
  const [first, second] = words;
  if (!['help', 'info', 'correct', 'memory'].includes(first)) {
    const photos = first === 'caption' ? words.slice(1) : words;
    if (!photos.length) throw new UsageError('no photo is given');
    if (photos.filter((photo) => photo === STDIN).length > 1) {
      throw new UsageError('standard input can be one photo only');
    }
    return { name: 'caption', words: photos };
  }
  const name = first === 'memory' ? `memory ${second}` : first;
  const rest = words.slice(first === 'memory' ? 2 : 1);
  if (WORDS[name] !== rest.length) throw new UsageError(`not a command: ${words.join(' ')}`);
  if (name === 'memory delete' && number(rest[0]) === null) {
    throw new UsageError(`SLOT must be a number, found ${JSON.stringify(rest[0])}`);
  }
  return { name, words: rest };
}

/** @param {any} values @returns {import('../index.js').CaptionOptions} */
function captionOptions({ length, hint, beams }) {
  if (length !== undefined && !LENGTHS.includes(length)) {
    const expected = '--length must be short, medium or long';
    throw new UsageError(`${expected}, found ${JSON.stringify(length)}`);
  }
  if (beams === undefined) return { length, hint };
  const count = number(beams) ?? 0;
  if (count < 1 || count > MAX_BEAMS) {
    const expected = `--beams must be a number from 1 to ${MAX_BEAMS}`;
    throw new UsageError(`${expected}, found ${JSON.stringify(beams)}`);
  }
  return { length, hint, beams: count };
}

/** @param {string} text */
const number = (text) => (/^\d+$/.test(text) && Number(text) <= MAX_NUMBER ? Number(text) : null);
