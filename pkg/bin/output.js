// @ts-check
/**
 * What is printed, and how. Names of files and remembered captions may hold control characters: a
 * terminal must not obey them.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { OutputError } from './failure.js';

/** Control characters, and those that reverse the direction of what follows. */
const OBEYED = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** The text with `\u001b` for what a terminal obeys. @param {string} text */
const escaped = (text) =>
  text.replace(OBEYED, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);

// An error is what `print` throws; without a listener it would end the process, too.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

/** Writes to standard output. @param {string | Uint8Array} data */
export async function print(data) {
  const bytes = Buffer.from(data);
  try {
    await (process.stdout instanceof Socket ? send(bytes) : writeAll(bytes));
  } catch (cause) {
    throw new OutputError('cannot write to standard output', { cause });
  }
}

/** To a pipe or terminal. @param {Buffer} bytes @returns {Promise<void>} */
const send = (bytes) => new Promise((resolve, reject) => {
  process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
});

/** To a file: Node's stream would lose what a full disk leaves over. @param {Buffer} bytes */
function writeAll(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

/** @param {string} line */
export const printLine = (line) => print(`${line}\n`);

/**
 * Prints a line of JSON. It holds no control character, on a terminal or not.
 * @param {object} value
 */
export const printJson = (value) => printLine(escaped(JSON.stringify(value)));

/** The text as standard output may show it. @param {string} text */
export const shown = (text) => (process.stdout.isTTY ? escaped(text) : text);

/**
 * Writes a line to standard error.
 * @param {string} message @param {string} [more] lines after it
 */
export function report(message, more = '') {
  const line = process.stderr.isTTY ? escaped(message) : message;
  process.stderr.write(`bitmar: ${line}\n${more}`);
}
