// @ts-check
/** A memory's file. */
import { createHash } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';

/** @typedef {import('../index.js').BitMar} BitMar */

/** Fills the memory from a file, if there is one and it does not hold `known`. Another model's is encoded anew.
 * @param {BitMar} bitmar @param {string} path @param {Uint8Array} [known] */
export async function restore(bitmar, path, known) {
  const snapshot = await contents(path);
  if (!snapshot || (known && snapshot.equals(known))) return;
  const left = await bitmar.memory.import(snapshot).catch(({ message }) => {
    throw new Error(`${path}: ${message}`);
  });
  if (isOwn(bitmar, snapshot)) return;
  const { used } = await bitmar.memory.stats();
  console.error(`bitmar: the memory is another model's: ${used} of ${used + left} photos taken over`);
}

/** Writes the memory to its file, and returns what it wrote. One of another model that is there is kept beside it.
 * @param {BitMar} bitmar @param {string} path */
export async function store(bitmar, path) {
  const old = await contents(path);
  if (old && !isOwn(bitmar, old)) {
    await replace(`${path}.${createHash('sha256').update(old).digest('hex').slice(0, 12)}.old`, old);
  }
  const snapshot = await bitmar.memory.export();
  await replace(path, snapshot);
  return snapshot;
}

/** @param {string} path */
const contents = (path) =>
  readFile(path).catch((error) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });

/** Whether this model wrote it: safetensors begin with the length of a JSON header. @param {BitMar} bitmar @param {Buffer} snapshot */
function isOwn(bitmar, snapshot) {
  try {
    const header = JSON.parse(snapshot.toString('utf8', 8, 8 + Number(snapshot.readBigUInt64LE())));
    return header.__metadata__.model_sha256 === bitmar.info.sha256;
  } catch {
    // No snapshot at all.
    return false;
  }
}

/** Writes beside, then renames: the old file stays whole until the new one is. @param {string} path @param {Uint8Array} bytes */
export async function replace(path, bytes) {
  const beside = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(beside, bytes);
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}
