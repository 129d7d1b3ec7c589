// @ts-check
/** The model's two files: those of this package, unless another folder is named. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fileError } from './failure.js';

/** @param {string} path of a file in this package */
const inPackage = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Hexadecimal digits that stand for the name of an unreleased model. */
const HASH_DIGITS = 12;

/** The folder given, that of the environment, or the package's own. @param {string} given */
const folder = (given) => given || process.env.BITMAR_MODEL_DIR || inPackage('model');

/** The bytes of model.safetensors. @param {string} given the folder, empty if none is named */
export const readModel = (given) => read(join(folder(given), 'model.safetensors'), 'model');

/** The bytes of tokenizer.json. @param {string} given the folder, empty if none is named */
export const readTokenizer = (given) => read(join(folder(given), 'tokenizer.json'), 'tokenizer');

/** A model's name: see src/model_name.rs. @param {Uint8Array} model */
export async function modelName(model) {
  const hash = createHash('sha256').update(model).digest('hex');
  /** @type {{ sha256: string, name: string }[]} */
  const names = JSON.parse(await readFile(inPackage('model/names.json'), 'utf8'));
  return names.find(({ sha256 }) => sha256 === hash)?.name ?? hash.slice(0, HASH_DIGITS);
}

/** This package's version. */
export const version = async () =>
  JSON.parse(await readFile(inPackage('package.json'), 'utf8')).version;

/** What `--help` prints, in both programs. */
export const usage = () => readFile(inPackage('bin/usage.txt'), 'utf8');

/** @param {string} path @param {string} code of the error if it cannot be read */
async function read(path, code) {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw fileError(code, path, error);
  }
}
