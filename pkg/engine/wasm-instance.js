// @ts-check
/** The one wasm instance of this thread, shared by its captioners and replaced after a trap. */

/** @type {Promise<void> | undefined} */ let starting;
/** The JavaScript side of the started module. @type {any} */ let started;
let number = 0;

/**
 * Starts the module, unless it has been started.
 * @param {any} glue
 * @param {any} wasm its URL, bytes or compiled module
 */
export async function start(glue, wasm) {
  starting ??= glue.default({ module_or_path: wasm }).then(() => (started = glue));
  try {
    await starting;
  } catch (error) {
    starting = undefined;
    throw error;
  }
}

/** Identifies the current instance. Objects of an earlier one are gone and must not be freed. */
export const instanceNumber = () => number;

/** Replaces the current instance. Objects that lived in the old one throw when they are used. */
export function renew() {
  number++;
  started?.__wbg_reset_state();
}
