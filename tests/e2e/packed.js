// @ts-check
/** The npm package as npm packs it, unpacked as npm installs it. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PACKAGE } from './support.js';

export const run = promisify(execFile);

/**
 * A new folder whose node_modules hold the package.
 * @returns {Promise<{ folder: string, tarball: string, files: string[], size: number, remove: () => Promise<void> }>}
 */
export async function installed() {
  const folder = await mkdtemp(join(tmpdir(), 'bitmar-package-'));
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder, PACKAGE]);
  const [{ filename, files, size }] = Object.values(JSON.parse(stdout));
  const tarball = join(folder, filename);
  const home = join(folder, 'node_modules/bitmar');
  await mkdir(home, { recursive: true });
  await run('tar', ['-xzf', tarball, '--strip-components=1', '-C', home]);
  await mkdir(join(folder, 'node_modules/.bin'));
  await symlink('../bitmar/bin/bitmar.js', join(folder, 'node_modules/.bin/bitmar'));
  const remove = () => rm(folder, { recursive: true, force: true });
  return { folder, tarball, files: files.map((/** @type {{ path: string }} */ { path }) => path), size, remove };
}
