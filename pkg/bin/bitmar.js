#!/usr/bin/env node
// @ts-check
/**
 * `npx bitmar`: captions photos, and shows and teaches the memory of a file. The native program
 * (src/bin/bitmar) takes the same commands and prints the same; tests/e2e/command-lines.test.js
 * runs both.
 */
import { parse } from './arguments.js';
import { commands } from './commands.js';
import { OutputError, UsageError, plain, reason } from './failure.js';
import { printJson, report } from './output.js';

/**
 * Says why the command failed, and returns the exit status.
 * @param {any} error @param {boolean} json
 */
async function explain(error, json) {
  if (error instanceof UsageError) {
    report(error.message, 'Try `bitmar --help`.\n');
    return 2;
  }
  if (error instanceof OutputError) {
    const cause = /** @type {any} */ (error.cause);
    // The reader of our output wants no more of it.
    if (cause.code === 'EPIPE') return 0;
    report(`${error.message}: ${reason(cause)}`);
    return 1;
  }
  report(error.message);
  // If this fails, the command does anyway, and standard error has the reason.
  if (json) await printJson({ error: plain(error) }).catch(() => {});
  return 1;
}

let isJson = false;
try {
  const { name, words, settings } = parse(process.argv.slice(2));
  isJson = settings.json;
  await commands[name](settings, ...words);
} catch (error) {
  process.exitCode = await explain(error, isJson);
}
