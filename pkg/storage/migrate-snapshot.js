// @ts-check

/**
 * Converts another model's snapshot to one of this model, by encoding its photos again from the
 * thumbnails it kept.
 * @param {any} captioner
 * @param {Uint8Array} snapshot
 * @param {(event: any) => void} report called with `{ phase: 'adopt', done, total }`
 * @returns {{ snapshot: Uint8Array, left: number }} `left` counts the photos that could not be
 *   encoded, because no thumbnail was kept
 */
export function migrateSnapshot(captioner, snapshot, report) {
  const migration = captioner.migrateMemory(snapshot);
  try {
    const total = migration.total();
    for (let done = 0; migration.step(); ) report({ phase: 'adopt', done: ++done, total });
    return { snapshot: migration.snapshot(), left: migration.left() };
  } finally {
    migration.free();
  }
}
