// @ts-check
/**
 * The lock of a memory file. One command line at a time works on it, this one or the native one
 * (src/bin/bitmar/lock.rs): of two that read and write at once, one would lose its changes.
 */
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { BitMarError } from '../errors.js';
import { fileError } from './failure.js';

/** How long to wait for another command line, and how often to look, in milliseconds. */
const PATIENCE = 30_000;
const PAUSE = 20;

const BUSY =
  'another bitmar process is using this memory; if none is running, delete this lock file';

/**
 * Runs `body` while `FILE.lock` holds the number of this process.
 * @template T @param {string} path @param {() => Promise<T>} body @returns {Promise<T>}
 */
export async function locked(path, body) {
  const lock = `${path}.lock`;
  const until = Date.now() + PATIENCE;
  while (!(await isTaken(lock))) {
    if (Date.now() > until) throw new BitMarError('storage', `${lock}: ${BUSY}`);
    await setTimeout(PAUSE);
  }
  try {
    return await body();
  } finally {
    await rm(lock, { force: true });
  }
}

/** Takes the lock if nobody has it, or its owner is gone. @param {string} lock */
async function isTaken(lock) {
  const taking = writeFile(lock, String(process.pid), { flag: 'wx' });
  const isMine = await taking.then(() => true, async (error) => {
    if (error.code === 'EEXIST') return false;
    // Made, but not written: a full disk.
    await rm(lock, { force: true });
    throw fileError('storage', lock, error);
  });
  if (!isMine) await removeIfAbandoned(lock);
  return isMine;
}

/** @param {string} lock */
async function removeIfAbandoned(lock) {
  const owner = await ownerOf(lock);
  if (!owner || isAlive(owner)) return;
  // Two processes may see this at once. Only one can move the lock, and one that was taken
  // meanwhile is put back.
  const aside = `${lock}.${process.pid}`;
  if (!(await rename(lock, aside).then(() => true, () => false))) return;
  if ((await ownerOf(aside)) !== owner) await link(aside, lock).catch(() => {});
  await rm(aside, { force: true });
}

/** The process in a lock, 0 if there is none or it is not written yet. @param {string} lock */
const ownerOf = async (lock) => Number(await readFile(lock, 'utf8').catch(() => '')) || 0;

/** @param {number} owner */
function isAlive(owner) {
  try {
    process.kill(owner, 0);
    return true;
  } catch (/** @type {any} */ { code }) {
    // Another user's process may not be signalled, but is there.
    return code !== 'ESRCH';
  }
}
