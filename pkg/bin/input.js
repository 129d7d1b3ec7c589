// @ts-check
/** What commands read: files, or standard input. */
import { readFile } from 'node:fs/promises';
import { BitMarError } from '../errors.js';
import { reason } from './failure.js';

/** Where a photo or file is standard input. */
export const STDIN = '-';

/** The bytes of a file or of standard input. @param {string} path */
export async function read(path) {
  if (path !== STDIN) return readFile(path);
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** @param {string} photo */
export const readPhoto = (photo) =>
  read(photo).catch((error) => {
    throw new BitMarError('photo', `cannot read the photo: ${reason(error)}`);
  });
