// @ts-check
/** A memory's file. */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, readFile, readlink, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { BitMarError } from '../errors.js';
import { at, fileError } from './failure.js';
import { report } from './output.js';

/** @typedef {import('../index.js').BitMar} BitMar */

/** What is caught if a file is not there. @param {any} error */
const absent = (error) => {
  if (error.code !== 'ENOENT') throw error;
  return null;
};

/**
 * The file that a path leads to, which need not exist. The file itself is replaced, and a link to
 * it stays one.
 * @param {string} path
 */
export async function memoryFile(path) {
  try {
    const file = await followed(path);
    if ((await stat(file).catch(absent))?.isFile() ?? basename(file)) return file;
  } catch (error) {
    throw fileError('storage', path, error);
  }
  throw new BitMarError('storage', `${path}: not a regular file`);
}

/** @param {string} path @returns {Promise<string>} */
async function followed(path) {
  const found = await realpath(path).catch(absent);
  if (found) return found;
  // A link to a file that does not exist yet. A circle of links is another error than ENOENT.
  const target = await readlink(path).catch(() => null);
  return target === null ? path : followed(resolve(dirname(path), target));
}

/**
 * Fills the memory from a file, unless it holds what is `known` already.
 * @param {BitMar} bitmar @param {string} path @param {Uint8Array} [known]
 */
export async function restore(bitmar, path, known) {
  const snapshot = await contents(path);
  if (snapshot && !(known && snapshot.equals(known))) await load(bitmar, snapshot, path);
}

/**
 * Fills the memory from a snapshot, the contents of `path`. One of another model is re-encoded.
 * @param {BitMar} bitmar @param {Buffer} snapshot @param {string} path
 */
export async function load(bitmar, snapshot, path) {
  const left = await bitmar.memory.import(snapshot).catch((error) => {
    throw at(error, path);
  });
  if (isOwn(bitmar, snapshot)) return;
  const { used } = await bitmar.memory.stats();
  report(`another model wrote this memory: ${used} of ${used + left} photos re-encoded`);
}

/**
 * Writes the memory to its file, and returns the bytes. A file of another model is kept as
 * `FILE.HASH.old`.
 * @param {BitMar} bitmar @param {string} path
 */
export async function store(bitmar, path) {
  const old = await contents(path);
  if (old && !isOwn(bitmar, old)) {
    const hash = createHash('sha256').update(old).digest('hex');
    await replace(`${path}.${hash.slice(0, 12)}.old`, old);
  }
  const snapshot = await bitmar.memory.export();
  await replace(path, snapshot);
  return snapshot;
}

/** @param {string} path */
const contents = (path) =>
  readFile(path).catch(absent).catch((error) => {
    throw fileError('storage', path, error);
  });

/**
 * Whether this model wrote it: safetensors begin with the length of a JSON header.
 * @param {BitMar} bitmar @param {Buffer} snapshot
 */
function isOwn(bitmar, snapshot) {
  try {
    const header = snapshot.toString('utf8', 8, 8 + Number(snapshot.readBigUInt64LE()));
    return JSON.parse(header).__metadata__.model_sha256 === bitmar.info.sha256;
  } catch {
    // No snapshot at all.
    return false;
  }
}

/**
 * Writes a new file in the same folder, then renames it: the old one stays whole until the new one
 * is. The new one gets the mode of the old one.
 * @param {string} path @param {Uint8Array} bytes
 */
export async function replace(path, bytes) {
  const fresh = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const old = await stat(path).catch(absent);
    // Never open to more people than the old one; the umask may leave bits out.
    await writeFile(fresh, bytes, { flag: 'wx', mode: old?.mode });
    if (old) await chmod(fresh, old.mode);
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw fileError('storage', path, error);
  }
}
