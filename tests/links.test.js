// @ts-check
/** Relative links in Markdown: the files and headings that they name exist. */
import assert from 'node:assert/strict';
import { mkdtemp, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Folders that hold no documents of ours: dependencies and what is built. */
const SKIPPED = new Set(['node_modules', 'target', 'runs', 'dist', 'wasm']);
/** Inline links and images, definitions of reference links, and HTML attributes. */
const LINKS = [
  /\]\(\s*<?([^()\s<>]+(?:\([^()\s]*\)[^()\s<>]*)*)>?(?:\s+["'(][^)]*)?\s*\)/g,
  /^ {0,3}\[[^\]]+\]:\s*<?([^\s<>]+)>?/gm,
  /\b(?:href|src)="([^"]+)"/g,
];

/** @param {string} folder @returns {AsyncGenerator<string>} */
async function* documents(folder) {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name) && !entry.name.startsWith('.')) yield* documents(path);
    } else if (entry.name.endsWith('.md')) {
      yield path;
    }
  }
}

/** Without code, which may look like links and headings. Keeps the lines. @param {string} text */
const prose = (text) =>
  text
    .replace(/^ {0,3}(`{3,}|~{3,})[^\n]*\n[\s\S]*?^ {0,3}\1[^\n]*$/gm, (block) => block.replace(/[^\n]/g, ''))
    .replace(/(`+)(?!`)[\s\S]*?[^`]\1(?!`)/g, (code) => code.replace(/[^\n]/g, ''));

/** The anchors of a document's headings, as GitHub makes them. @param {string} text */
function anchors(text) {
  const found = new Set();
  const blocks = text.replace(/^ {0,3}(`{3,}|~{3,})[^\n]*\n[\s\S]*?^ {0,3}\1[^\n]*$/gm, '');
  for (const [, heading] of blocks.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    let [name, number] = [slug, 0];
    while (found.has(name)) name = `${slug}-${++number}`;
    found.add(name);
  }
  for (const [, id] of blocks.matchAll(/<[^>]+\b(?:id|name)="([^"]+)"/g)) found.add(id);
  return found;
}

/** Links of a folder's documents that lead nowhere, as `file:line: link`. @param {string} root */
async function brokenLinks(root) {
  const broken = [];
  for await (const path of documents(root)) {
    const text = prose(await readFile(path, 'utf8'));
    for (const pattern of LINKS) {
      for (const { 1: link, index } of text.matchAll(pattern)) {
        if (/^[a-z][a-z0-9+.-]*:/i.test(link) || link.startsWith('//')) continue;
        if (!(await leadsSomewhere(root, path, link))) {
          broken.push(`${relative(root, path)}:${text.slice(0, index).split('\n').length}: ${link}`);
        }
      }
    }
  }
  return broken;
}

/** @param {string} root @param {string} path the document @param {string} link */
async function leadsSomewhere(root, path, link) {
  const [file, anchor] = link.split('#', 2);
  const target = file ? resolve(dirname(path), decodeURIComponent(file)) : path;
  const isInside = !relative(root, target).startsWith('..');
  if (!isInside || !(await stat(target).catch(() => null))) return false;
  if (anchor === undefined) return true;
  return target.endsWith('.md') && anchors(await readFile(target, 'utf8')).has(decodeURIComponent(anchor));
}

test('a link to a missing file or heading is found, one in code is not a link', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'bitmar-links-'));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'docs'));
  await writeFile(join(folder, 'docs/b.md'), '# B\n\n## A `code`: two, words\n\n## Same\n\n## Same\n\n```sh\n# No heading\n```\n');
  await writeFile(join(folder, 'a.md'), [
    '[good](docs/b.md) [good](docs/b.md#a-code-two-words) [good](docs/b.md#same-1) [good](docs) [good](#title)',
    '[good](https://example.org/none) `[code](none.md)` ![good](<docs/b.md> "title")',
    '```',
    '[code](none.md)',
    '```',
    '# Title',
    '[a](none.md) [b](docs/b.md#none) [c](#none) [d](docs/b.md#no-heading) [e](../outside.md)',
    '![f](none.png) <a href="none.html">f</a>',
    '[g]: docs/none.md',
  ].join('\n'));
  assert.deepEqual((await brokenLinks(folder)).sort(), [
    'a.md:7: #none', 'a.md:7: ../outside.md', 'a.md:7: docs/b.md#no-heading', 'a.md:7: docs/b.md#none',
    'a.md:7: none.md', 'a.md:8: none.html', 'a.md:8: none.png', 'a.md:9: docs/none.md',
  ]);
});

test('every relative link in the Markdown documents leads somewhere', async () => {
  assert.deepEqual(await brokenLinks(ROOT), []);
});
