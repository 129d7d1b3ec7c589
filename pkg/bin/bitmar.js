#!/usr/bin/env node
// @ts-check
/** `bitmar PHOTO...`: a caption a line; and the memory of a file. */
import { parseArgs } from 'node:util';
import { commands } from './commands.js';

const USAGE = `bitmar [caption] [OPTIONS] PHOTO...  captions photos (JPEG, PNG, WebP, GIF, BMP), one a line: "photo: caption"
bitmar correct PHOTO TEXT            teaches what a photo shows (needs --memory)
bitmar memory list                   shows what is remembered (needs --memory)
bitmar memory delete SLOT            forgets what is in a slot (needs --memory)
bitmar memory export                 copies the memory to standard output, for import elsewhere (needs --memory)
bitmar memory import FILE            puts an exported memory in the place of this one (needs --memory)
bitmar memory clear                  empties the memory (needs --memory)

  --memory FILE               keep the memory in this file; one of another model is taken over, and kept beside it
  --no-write                  leave the memory as it is
  --json                      a JSON object a line: photo, text, tokens, confidence, ms, or photo, error; or a
                              remembered photo
  --length short|medium|long  how much to say (medium)
  --hint TEXT                 what the photos are known to show, such as "my dog Rex"
  --beams N                   candidates to keep, 1 to 8 (3); 1 is the fastest
  --help                      this text

A photo that cannot be captioned is told of on standard error; the rest go on, and the exit code is 1.
`;

const LENGTHS = ['short', 'medium', 'long'];

/** How many words each command takes after its name. @type {Record<string, number>} */
const WORDS = { correct: 2, 'memory list': 0, 'memory delete': 1, 'memory export': 0, 'memory import': 1, 'memory clear': 0 };

/** @param {string[]} words @returns {{ name: string, words: string[] }} */
function command([first, ...rest]) {
  if (first !== 'memory' && first !== 'correct') {
    const photos = first === 'caption' ? rest : [first, ...rest];
    if (!photos[0]) throw new Error('no photo is given');
    return { name: 'caption', words: photos };
  }
  const [name, words] = first === 'memory' ? [`memory ${rest[0]}`, rest.slice(1)] : [first, rest];
  if (WORDS[name] !== words.length) throw new Error(`not a command: ${[first, ...rest].join(' ')}`);
  return { name, words };
}

function given() {
  /** @type {import('node:util').ParseArgsConfig['options'] & {}} */
  const options = {
    memory: { type: 'string' },
    'no-write': { type: 'boolean' },
    json: { type: 'boolean' },
    length: { type: 'string' },
    hint: { type: 'string' },
    beams: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const { memory, 'no-write': isReadOnly, json, length, hint, beams, help } = /** @type {any} */ (values);
  if (length !== undefined && !LENGTHS.includes(length)) throw new Error(`no such length: ${length}`);
  if (beams !== undefined && !/^[1-8]$/.test(beams)) throw new Error(`not a number of beams from 1 to 8: ${beams}`);
  if (help) return { help, name: '', words: [], settings: null };
  const settings = { memory, json, remember: Boolean(memory && !isReadOnly), options: { length, hint, beams: beams && Number(beams) } };
  return { help, ...command(positionals), settings };
}

/** @param {() => any} run @param {number} exitCode of the process if it fails @param {string} more to say then */
async function orFail(run, exitCode, more = '') {
  try {
    return await run();
  } catch (/** @type {any} */ { message }) {
    console.error(`bitmar: ${message}${more}`);
    process.exit(exitCode);
  }
}

const { help, name, words, settings } = await orFail(given, 2, `\n\n${USAGE}`);
if (help) process.stdout.write(USAGE);
else await orFail(() => commands[name](settings, ...words), 1);
