// @ts-check
/** Why a command failed: a `BitMarError` with a code, or one of these. */
import { getSystemErrorMap } from 'node:util';
import { BitMarError } from '../errors.js';

/** The command line is wrong. */
export class UsageError extends Error {}

/** Standard output cannot be written; the cause says why. */
export class OutputError extends Error {}

/**
 * What the system's library says where libuv says something else.
 * @type {Record<string, string>}
 */
const REASONS = {
  EISDIR: 'is a directory',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
};

/** The system's reason, as the native program words it: without its code. @param {any} error */
export const reason = ({ code, errno, message }) =>
  REASONS[code] ?? getSystemErrorMap().get(errno)?.[1] ?? message;

/**
 * The error of a file that cannot be read or written.
 * @param {string} code @param {string} path @param {any} error
 */
export const fileError = (code, path, error) =>
  new BitMarError(code, `${path}: ${reason(error)}`, { cause: error });

/** The same error with the name of the file it is about. @param {any} error @param {string} path */
export const at = ({ code, message }, path) => new BitMarError(code, `${path}: ${message}`);

/** An error as programs see it; one without a code of ours is a bug. @param {any} error */
export const plain = (error) =>
  ({ code: error instanceof BitMarError ? error.code : 'internal', message: error.message });
