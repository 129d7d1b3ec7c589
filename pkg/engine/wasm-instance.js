// @ts-check
/** The wasm module's one instance in this thread, whichever captioners use it. After a trap another takes its place. */

/** @type {Promise<void> | undefined} */ let starting;
/** The started module's JavaScript side. @type {any} */ let started;
let number = 0;

/** Starts the module, unless it runs. @param {any} glue @param {any} wasm its address, bytes or compiled module */
export async function start(glue, wasm) {
  starting ??= glue.default({ module_or_path: wasm }).then(() => (started = glue));
  try {
    await starting;
  } catch (error) {
    starting = undefined;
    throw error;
  }
}

/** Which instance runs. An object of another one must not be freed: its memory is not its own any more. */
export const instanceNumber = () => number;

/** Puts a new instance in the place of the one that runs. Whatever lived in the old one throws when it is used. */
export function renew() {
  number++;
  started?.__wbg_reset_state();
}
