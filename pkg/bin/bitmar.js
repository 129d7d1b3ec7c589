#!/usr/bin/env node
// @ts-check
/** `bitmar PHOTO...`: a caption a line. */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { BitMar } from '../index.js';

const USAGE = `bitmar [--json] [--length short|medium|long] [--hint TEXT] [--beams N] PHOTO...
Captions photos (JPEG, PNG, WebP, GIF, BMP) on this machine, one a line: "photo: caption".

  --json         a JSON object a line: photo, text, tokens, confidence, ms, or photo, error
  --length LEN   how much to say: short, medium (the default) or long
  --hint TEXT    what the photos are known to show, such as "my dog Rex"
  --beams N      candidates to keep, 1 to 8 (3); 1 is the fastest
  --help         this text

A photo that cannot be captioned is told of on standard error; the rest go on, and the exit code is 1.
`;

const LENGTHS = ['short', 'medium', 'long'];

function given() {
  /** @type {import('node:util').ParseArgsConfig['options'] & {}} */
  const options = {
    json: { type: 'boolean' },
    length: { type: 'string' },
    hint: { type: 'string' },
    beams: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  };
  const { values, positionals: photos } = parseArgs({ options, allowPositionals: true });
  const { json, length, hint, beams, help } = /** @type {any} */ (values);
  if (length !== undefined && !LENGTHS.includes(length)) throw new Error(`no such length: ${length}`);
  if (beams !== undefined && !/^[1-8]$/.test(beams)) throw new Error(`not a number of beams from 1 to 8: ${beams}`);
  if (!help && photos.length === 0) throw new Error('no photo is given');
  return { json, help, photos, options: { length, hint, beams: beams && Number(beams) } };
}

/** @param {string[]} photos @param {import('../index.js').CaptionOptions} options @param {boolean} json */
async function captionAll(photos, options, json) {
  const bitmar = await BitMar.load();
  for (const photo of photos) {
    try {
      // Each alone: none leans on those before it.
      const caption = await bitmar.caption(await readFile(photo), { ...options, remember: false });
      const { text, tokens, confidence, timings: ms } = caption;
      console.log(json ? JSON.stringify({ photo, text, tokens, confidence, ms }) : `${photo}: ${text}`);
    } catch (/** @type {any} */ { code, message }) {
      process.exitCode = 1;
      console.error(`${photo}: ${message}`);
      if (json) console.log(JSON.stringify({ photo, error: { code, message } }));
    }
  }
  bitmar.close();
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

const { json, help, photos, options } = await orFail(given, 2, `\n\n${USAGE}`);
if (help) process.stdout.write(USAGE);
else await orFail(() => captionAll(photos, options, json), 1);
