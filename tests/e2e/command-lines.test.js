// @ts-check
/**
 * One command line: `bitmar`, the build that `cargo test` made, and `npx bitmar`, the package's,
 * take the same commands and options, print the same, fail the same, and share memory files.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import {
  chmod, copyFile, lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, stat, symlink, writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGE = process.env.BITMAR_PKG ?? join(root, 'pkg');

/** The words that start each program. @type {Record<string, string[]>} */
const PROGRAMS = {
  bitmar: [join(root, 'target/debug/bitmar')],
  'npx bitmar': [process.execPath, join(PACKAGE, 'bin/bitmar.js')],
};

/** The model as `--version` names it. */
const MODEL = 'v1';
/** A terminal must not obey it: escape, C1 control sequence introducer, right-to-left override. */
const HOSTILE = 'a\u001b[31m\u009b31m\u202eb';
const ESCAPED = 'a\\u001b[31m\\u009b31m\\u202eb';

/** Where the tests run, outside the checkout. @type {string} */ let folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bitmar-command-lines-'));
  for (const name of ['cat', 'coffee', 'rocket', 'astronaut']) {
    await copyFile(join(root, `tests/photos/${name}.jpg`), join(folder, `${name}.jpg`));
  }
  await copyFile(join(folder, 'cat.jpg'), join(folder, `${HOSTILE}.jpg`));
  await copyFile(join(folder, 'cat.jpg'), join(folder, '-cat.jpg'));
  await writeFile(join(folder, 'notes.jpg'), 'not a photo');
  await mkdir(join(folder, 'folder'));
  await mkdir(join(folder, 'unreleased'));
  await writeFile(join(folder, 'unreleased/model.safetensors'), 'another');
  await writeFile(join(folder, 'unreleased/tokenizer.json'), '{}');
});
after(() => rm(folder, { recursive: true, force: true }));

/** @typedef {{ code: number | null, out: string, err: string }} Ended */

/**
 * Runs a command to its end.
 * @param {string[]} command
 * @param {{ input?: string | Buffer, env?: Record<string, string>, stdout?: number | 'pipe' }}
 *   [options]
 * @returns {Promise<Ended & { bytes: Buffer }>}
 */
function run([program, ...args], { input = '', env = {}, stdout = 'pipe' } = {}) {
  const { BITMAR_MODEL_DIR: _, ...inherited } = process.env;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: folder, env: { ...inherited, ...env }, stdio: ['pipe', stdout, 'pipe'],
    });
    /** @type {Buffer[]} */ const out = [];
    let err = '';
    child.stdout?.on('data', (data) => out.push(data));
    child.stderr.setEncoding('utf8').on('data', (data) => (err += data));
    // A program that reads no input may have ended before it is written.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (code) => {
      const bytes = Buffer.concat(out);
      resolve({ code, out: bytes.toString(), err, bytes });
    });
  });
}

/** Without what differs between two runs or builds: times and kernels. @param {string} text */
const comparable = (text) =>
  text.replace(/"ms":\{[^}]*\}/g, '"ms":{}').replace(/(kernels\W+)\w+/g, '$1');

/**
 * Runs both programs, whose exit status and output must be the same; returns the native program's.
 * @param {string[]} args @param {Parameters<typeof run>[1]} [options]
 */
async function both(args, options) {
  const ends = await Promise.all(
    Object.values(PROGRAMS).map((program) => run([...program, ...args], options)),
  );
  const [native, node] = ends.map(({ code, out, err }) => ({ code, out: comparable(out), err }));
  assert.deepEqual(node, native, args.join(' '));
  return ends[0];
}

/** The objects of JSON lines. @param {string} out @returns {any[]} */
const objects = (out) => out.trimEnd().split('\n').map((line) => JSON.parse(line));

const CAT = 'A cat is looking at a cat in a bowl';
const COFFEE = 'A cup of coffee sitting on top of a table';
const MISSING = 'cannot read the photo: no such file or directory';

/** A command that failed, with `--json`. @param {string} code @param {string} message */
function failed(code, message) {
  const out = `${JSON.stringify({ error: { code, message } })}\n`;
  return { code: 1, out, err: `bitmar: ${message}\n` };
}

/**
 * What each row is about, its arguments, and how both programs end.
 * @type {[string, string[], Ended][]}
 */
const SAME = [
  ['a photo', ['cat.jpg'], { code: 0, out: `cat.jpg: ${CAT}\n`, err: '' }],
  ['the command for it', ['caption', 'cat.jpg', 'coffee.jpg'],
    { code: 0, out: `cat.jpg: ${CAT}\ncoffee.jpg: ${COFFEE}\n`, err: '' }],
  ['a photo that looks like an option', ['--', '-cat.jpg'],
    { code: 0, out: `-cat.jpg: ${CAT}\n`, err: '' }],
  ['standard input', ['coffee.jpg', '-'],
    { code: 0, out: `coffee.jpg: ${COFFEE}\n-: ${CAT}\n`, err: '' }],
  ['a photo that is not there', ['nowhere.jpg', 'cat.jpg'],
    { code: 1, out: `cat.jpg: ${CAT}\n`, err: `bitmar: nowhere.jpg: ${MISSING}\n` }],
  ['a folder', ['folder'],
    { code: 1, out: '', err: 'bitmar: folder: cannot read the photo: is a directory\n' }],
  ['a name with control characters, where no terminal obeys them', [`${HOSTILE}.jpg`],
    { code: 0, out: `${HOSTILE}.jpg: ${CAT}\n`, err: '' }],
  ['the version', ['--version'], { code: 0, out: `bitmar 0.1.0, model ${MODEL}\n`, err: '' }],
  ['the version of another model', ['-V', '--model', 'unreleased'],
    { code: 0, out: 'bitmar 0.1.0, model ae448ac86c4e\n', err: '' }],
  ['a model that is not there', ['cat.jpg', '--model', 'nowhere'],
    { code: 1, out: '', err: 'bitmar: nowhere/model.safetensors: no such file or directory\n' }],
  ['a model that is not there, as JSON', ['cat.jpg', '--model', 'nowhere', '--json'],
    failed('model', 'nowhere/model.safetensors: no such file or directory')],
  ['a photo to teach that is not there',
    ['correct', '--memory', 'none', 'nowhere.jpg', 'Rex', '--json'],
    failed('photo', `nowhere.jpg: ${MISSING}`)],
  ['a snapshot that is not there', ['memory', 'import', 'nowhere', '--memory', 'none', '--json'],
    failed('snapshot', 'nowhere: no such file or directory')],
  ['a memory that is no file', ['memory', 'list', '--memory', 'folder', '--json'],
    failed('storage', 'folder: not a regular file')],
  ['a memory in a folder that is not there',
    ['memory', 'clear', '--memory', 'nowhere/memory', '--json'],
    failed('storage', 'nowhere/memory.lock: no such file or directory')],
  ['a memory that does not exist yet', ['memory', 'list', '--memory', 'none'],
    { code: 0, out: '', err: '' }],
  ['a slot that is empty', ['memory', 'delete', '7', '--memory', 'none', '--json'],
    failed('memory', 'memory: slot 7 holds no episode')],
  ['a correction without a character', ['correct', '--memory', 'none', 'cat.jpg', ' \n', '--json'],
    failed('caption-empty', 'memory: an empty caption cannot be remembered')],
  ['a correction that is too long',
    ['correct', '--memory', 'none', 'cat.jpg', '\u{1f98a}'.repeat(501), '--json'],
    failed('caption-too-long', 'memory: the caption has 501 characters, a slot keeps at most 500')],
  ['a correction of two lines', ['correct', '--memory', 'none', 'cat.jpg', 'Rex\nasleep', '--json'],
    failed('option', 'bad option: the caption has a line break or another control character')],
];

for (const [name, args, expected] of SAME) {
  test(`both print the same: ${name}`, async () => {
    const input = await readFile(join(folder, 'cat.jpg'));
    const { code, out, err } = await both(args, { input });
    assert.deepEqual({ code, out, err }, expected);
  });
}

/**
 * Wrong command lines and the message; none where each parser has its own words.
 * @type {[string[], string?][]}
 */
const WRONG = [
  [[], 'no photo is given'],
  [['caption'], 'no photo is given'],
  [['-', '-'], 'standard input can be one photo only'],
  [['cat.jpg', '--colour']],
  [['cat.jpg', '--json=yes']],
  [['cat.jpg', '--beams']],
  [['--memory', '--json', 'cat.jpg']],
  [['cat.jpg', '--memory='], '--memory is empty'],
  [['cat.jpg', '--length', 'endless'], '--length must be short, medium or long, found "endless"'],
  [['cat.jpg', '--beams', '9'], '--beams must be a number from 1 to 8, found "9"'],
  [['cat.jpg', '--beams', '+3'], '--beams must be a number from 1 to 8, found "+3"'],
  [['memory', 'forget'], 'not a command: memory forget'],
  [['memory'], 'not a command: memory'],
  [['correct', 'cat.jpg', '--memory', 'none'], 'not a command: correct cat.jpg'],
  [['info', 'cat.jpg'], 'not a command: info cat.jpg'],
  [['memory', 'list'], 'name the file of the memory with --memory'],
  [['correct', 'cat.jpg', 'Rex'], 'name the file of the memory with --memory'],
  [['memory', 'delete', 'first', '--memory', 'none'], 'SLOT must be a number, found "first"'],
  // 2 to the 32nd would be slot 0 in WebAssembly.
  [['memory', 'delete', '4294967296', '--memory', 'none'],
    'SLOT must be a number, found "4294967296"'],
];

for (const [args, message] of WRONG) {
  test(`both refuse: bitmar ${args.join(' ')}`, async () => {
    for (const [name, program] of Object.entries(PROGRAMS)) {
      const { code, out, err } = await run([...program, ...args]);
      assert.deepEqual([code, out], [2, ''], name);
      assert.match(err, /^bitmar: [^]*\nTry `bitmar --help`\.\n$/, name);
      if (message) assert.equal(err.split('\n')[0], `bitmar: ${message}`, name);
    }
  });
}

test('both explain themselves with one text', async () => {
  const usage = await readFile(join(PACKAGE, 'bin/usage.txt'), 'utf8');
  for (const args of [['help'], ['--help'], ['cat.jpg', '-h']]) {
    assert.equal((await both(args)).out, usage);
  }
});

test('JSON has the promised fields, and the stable code of each photo that fails', async () => {
  const photos = ['cat.jpg', 'nowhere.jpg', 'notes.jpg', 'folder', 'rocket.jpg'];
  const { code, out, err } = await both(['--json', ...photos]);
  assert.equal(code, 1);
  assert.equal(err.trim().split('\n').length, 3, err);
  const lines = objects(out);
  assert.deepEqual(lines.map(({ photo }) => photo), photos);
  const codes = lines.map(({ error }) => error?.code ?? null);
  assert.deepEqual(codes, [null, 'photo', 'photo', 'photo', null]);
  for (const program of Object.values(PROGRAMS)) {
    const [line] = objects((await run([...program, '--json', 'cat.jpg'])).out);
    assert.deepEqual(Object.keys(line), ['photo', 'caption', 'tokens', 'confidence', 'ms']);
    const parts = ['decode', 'vision', 'stem', 'memory', 'text', 'fusion', 'prefill', 'total'];
    assert.deepEqual(Object.keys(line.ms), parts);
    assert.equal(line.caption, CAT);
    assert.ok(line.tokens > 0 && line.confidence > 0 && line.confidence < 1);
    const { decode, vision, memory, text, total } = line.ms;
    assert.ok(Math.abs(decode + vision + memory + text - total) < 0.01, JSON.stringify(line.ms));
  }
});

test('every caption option does the same in both', async () => {
  const options = ['--length', 'short', '--hint', 'my cat Rex', '--beams', '1', '--json'];
  const [line] = objects((await both(['cat.jpg', ...options])).out);
  assert.match(line.caption, /Rex/);
  const [long] = objects((await both(['cat.jpg', '--length=long', '--json'])).out);
  assert.ok(long.tokens > line.tokens, long.caption);
  const hint = 'a cat and a dog '.repeat(40);
  const [tooLong] = objects((await both(['cat.jpg', '--hint', hint, '--json'])).out);
  assert.equal(tooLong.error.code, 'option');
});

test('info names the model, its hash and sizes', async () => {
  const bytes = await readFile(join(PACKAGE, 'model/model.safetensors'));
  const [{ kernels, ...info }] = objects((await both(['info', '--json'])).out);
  const [{ sha256 }] = JSON.parse(await readFile(join(PACKAGE, 'model/names.json'), 'utf8'));
  const expected = { version: '0.1.0', model: MODEL, sha256, bytes: bytes.length, slots: 512 };
  assert.deepEqual(info, expected);
  const { out } = await both(['info']);
  for (const value of Object.values(expected)) assert.ok(out.includes(String(value)), out);
});

test('the model of another folder is named by an option or the environment', async () => {
  const copy = join(folder, 'copy');
  await mkdir(copy);
  for (const name of ['model.safetensors', 'tokenizer.json']) {
    await copyFile(join(PACKAGE, 'model', name), join(copy, name));
  }
  const env = { BITMAR_MODEL_DIR: 'nowhere' };
  assert.equal((await both(['cat.jpg'], { env })).code, 1);
  assert.equal((await both(['cat.jpg', '--model', 'copy'], { env })).out, `cat.jpg: ${CAT}\n`);
  for (const BITMAR_MODEL_DIR of ['copy', '']) {
    assert.equal((await both(['cat.jpg'], { env: { BITMAR_MODEL_DIR } })).out, `cat.jpg: ${CAT}\n`);
  }
  const [{ error }] = objects((await both(['cat.jpg', '--model', 'unreleased', '--json'])).out);
  assert.equal(error.code, 'model');
});

test('a full disk is an error', async (t) => {
  await both(['memory', 'clear', '--memory', 'full']);
  const exporting = ['memory', 'export', '--memory', 'full'];
  const wrong = ['nowhere.jpg', '--json'];
  for (const args of [['cat.jpg'], ['cat.jpg', '--json'], wrong, ['--help'], ['info'], exporting]) {
    const stdout = openSync('/dev/full', 'w');
    t.after(() => closeSync(stdout));
    const { code, err } = await both(args, { stdout });
    assert.equal(code, 1);
    assert.match(err, /bitmar: cannot write to standard output: no space left on device\n$/);
  }
});

test('a closed pipe ends both quietly', async () => {
  // The first line is read, and nothing after it.
  const script = '"$@" | head -n 1; exit "${PIPESTATUS[0]}"';
  for (const program of Object.values(PROGRAMS)) {
    const command = [...program, 'cat.jpg', 'coffee.jpg', 'rocket.jpg'];
    const { code, out, err } = await run(['bash', '-c', script, 'bash', ...command]);
    assert.deepEqual({ code, out, err }, { code: 0, out: `cat.jpg: ${CAT}\n`, err: '' });
  }
});

/** Runs a program on a terminal; returns what appears. @param {string[]} command */
async function onTerminal(command) {
  const quoted = command.map((word) => `'${word}'`).join(' ');
  const { out } = await run(['script', '-qec', quoted, '/dev/null']);
  return out.replaceAll('\r\n', '\n');
}

test('on a terminal, control characters in names and remembered captions are escaped', async () => {
  // Control characters are refused, those that reverse the direction of text are not.
  const words = 'Rex\u202e[2J\u2066';
  for (const program of Object.values(PROGRAMS)) {
    const [photo, missing] = [`${HOSTILE}.jpg`, `${HOSTILE}.png`];
    const memory = ['--memory', 'hostile', '--no-write'];
    await run([...program, 'correct', 'cat.jpg', words, ...memory]);
    const shown = await onTerminal([...program, photo, missing, ...memory]);
    const lines = [`${ESCAPED}.jpg: Rex\\u202e[2J\\u2066`, `bitmar: ${ESCAPED}.png: ${MISSING}`];
    assert.equal(shown, `${lines.join('\n')}\n`);
    const listed = await onTerminal([...program, 'memory', 'list', ...memory]);
    assert.equal(listed, '0\tcorrected\trecalled 0\tRex\\u202e[2J\\u2066\n');
    const json = await onTerminal([...program, photo, '--json', ...memory]);
    assert.doesNotMatch(json.trimEnd(), /[\p{Cc}\u202e\u2066]/u);
    const [line] = objects(json);
    assert.deepEqual([line.photo, line.caption], [photo, words], 'escapes change no value');
    const { out } = await run([...program, 'memory', 'list', ...memory]);
    assert.equal(out, `0\tcorrected\trecalled 0\t${words}\n`, 'and a file gets what is remembered');
    await rm(join(folder, 'hostile'));
  }
});

/**
 * A program's command with a memory file of a test's own.
 * @param {string[]} program @param {string} memory
 */
function withMemory(program, memory) {
  /** @param {string[]} args */
  const command = (...args) => run([...program, ...args, '--memory', memory]);
  const does = async (/** @type {string[]} */ ...args) => {
    const { code, out, err } = await command(...args);
    assert.deepEqual([code, err], [0, ''], args.join(' '));
    return out;
  };
  return { command, does, list: () => does('memory', 'list') };
}

/** Names in a folder of the tests. @param {string} name */
const filesIn = async (name) => (await readdir(join(folder, name))).sort();

for (const [name, program] of Object.entries(PROGRAMS)) {
  const own = (/** @type {string} */ test) => `${name.replace(' ', '-')}-${test}`;

  test(`${name} keeps corrections in a file, from the first to the last command`, async () => {
    const place = own('mine');
    await mkdir(join(folder, place));
    const memory = join(folder, place, 'memory');
    const { does, list } = withMemory(program, memory);
    await does('correct', 'cat.jpg', 'Chelsea the cat');
    assert.equal(await list(), '0\tcorrected\trecalled 0\tChelsea the cat\n');
    assert.equal(await does('caption', '--no-write', 'cat.jpg'), 'cat.jpg: Chelsea the cat\n');
    const isUncounted = '0\tcorrected\trecalled 0\tChelsea the cat\n';
    assert.equal(await list(), isUncounted, 'no recall is counted');
    await does('cat.jpg');
    const [{ written_at, ...entry }] = objects(await does('memory', 'list', '--json'));
    assert.deepEqual(entry, { slot: 0, caption: 'Chelsea the cat', corrected: true, recalls: 1 });
    assert.ok(Math.abs(Date.now() - written_at) < 600_000);
    const { bytes: exported } = await run([...program, 'memory', 'export', '--memory', memory]);
    assert.deepEqual(exported, await readFile(memory));
    await does('correct', 'coffee.jpg', 'A cup');
    await does('memory', 'delete', '0');
    assert.equal(await list(), '1\tcorrected\trecalled 0\tA cup\n');
    const before = await readFile(memory);
    const refused = await run([...program, 'memory', 'import', 'cat.jpg', '--memory', memory]);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /^bitmar: cat\.jpg: bad memory snapshot/);
    assert.deepEqual(await readFile(memory), before, 'a photo is no memory');
    const importing = [...program, 'memory', 'import', '-', '--memory', memory];
    const imported = await run(importing, { input: exported });
    assert.deepEqual([imported.code, imported.err], [0, '']);
    assert.equal(await list(), '0\tcorrected\trecalled 1\tChelsea the cat\n');
    await does('memory', 'clear');
    assert.equal(await list(), '');
    assert.deepEqual(await filesIn(place), ['memory'], 'nothing is left next to it');
  });

  test(`${name} keeps corrections in any script as they are`, async () => {
    const { does } = withMemory(program, join(folder, own('scripts')));
    const texts = [
      'แมวของฉันนั่งอยู่ข้างหน้าต่างและมองดูฝนตกตลอดทั้งวัน', 'قطتي تجلس على النافذة وتنظر إلى المطر كل يوم تقريبًا',
      'cafe\u0301 \u{1f469}\u200d\u{1f469}\u200d\u{1f467} \u{1f1eb}\u{1f1ee}', '\u{1f98a}'.repeat(500),
    ];
    for (const text of texts) {
      await does('correct', 'cat.jpg', `  ${text} `);
      assert.equal(objects(await does('memory', 'list', '--json'))[0].caption, text);
      assert.equal(await does('caption', '--no-write', 'cat.jpg'), `cat.jpg: ${text}\n`);
    }
  });

  test(`${name} tells pages of text and charts apart`, async () => {
    const pages = join(root, 'tests/fixtures/pages');
    const { does, list } = withMemory(program, join(folder, own('pages')));
    const words = { 'text-invoice': 'The invoice of April', 'chart-a': 'Visitors by month' };
    for (const [name, text] of Object.entries(words)) await does('correct', `${pages}/${name}.png`, text);
    assert.equal((await list()).match(/corrected/g)?.length, 2);
    for (const [name, text] of Object.entries(words)) {
      const path = `${pages}/${name}.png`;
      assert.equal(await does('caption', '--no-write', path), `${path}: ${text}\n`);
    }
    for (const name of ['text-letter', 'chart-b']) {
      const path = `${pages}/${name}.png`;
      const { out: unreminded } = await run([...program, path]);
      assert.equal(await does('caption', '--no-write', path), unreminded);
    }
  });

  test(`${name} remembers its own captions, unless told otherwise`, async () => {
    const place = own('captions');
    await mkdir(join(folder, place));
    const { does, list } = withMemory(program, join(folder, place, 'memory'));
    await does('--no-write', 'cat.jpg');
    assert.deepEqual(await filesIn(place), []);
    await does('cat.jpg', 'coffee.jpg');
    assert.match(await list(), /^0\tcaptioned\t/);
  });

  test(`${name} leaves a link to a memory a link, and a file's mode as it is`, async () => {
    const place = own('link');
    const file = (/** @type {string} */ path) => join(folder, place, path);
    await mkdir(file('real'), { recursive: true });
    await symlink('real/memory', file('link'));
    const { does, list } = withMemory(program, file('link'));
    await does('correct', 'cat.jpg', 'Rex');
    const mode = async () => (await stat(file('real/memory'))).mode & 0o777;
    assert.equal(await mode(), 0o666 & ~process.umask(), 'a new file is as open as others');
    await chmod(file('real/memory'), 0o640);
    await does('correct', 'coffee.jpg', 'A cup');
    assert.match(await list(), /Rex\n.*A cup\n/);
    assert.equal(await mode(), 0o640);
    assert.equal(await readlink(file('link')), 'real/memory');
    assert.ok((await lstat(file('real/memory'))).isFile());
    assert.deepEqual(await filesIn(place), ['link', 'real']);
    assert.deepEqual(await filesIn(`${place}/real`), ['memory']);
    await symlink('circle', file('circle'));
    const { code, err } = await run([...program, 'cat.jpg', '--memory', file('circle')]);
    const tooMany = `bitmar: ${file('circle')}: too many levels of symbolic links\n`;
    assert.deepEqual([code, err], [1, tooMany]);
  });

  test(`${name} refuses a damaged memory and re-encodes that of another model`, async () => {
    const place = own('foreign');
    await mkdir(join(folder, place));
    const memory = join(folder, place, 'memory');
    const { command, does, list } = withMemory(program, memory);
    await does('correct', 'cat.jpg', 'Rex');
    const bytes = await readFile(memory);
    const damaged = Buffer.from(bytes);
    damaged[damaged.length - 1] ^= 1;
    await writeFile(memory, damaged);
    const correcting = ['correct', 'cat.jpg', 'Mia'];
    for (const args of [['cat.jpg'], correcting, ['memory', 'list'], ['memory', 'export']]) {
      const { code, out, err } = await command(...args, '--json');
      assert.equal(code, 1);
      assert.ok(err.startsWith(`bitmar: ${memory}: bad memory snapshot: `), err);
      assert.equal(objects(out)[0].error.code, 'snapshot');
    }
    assert.deepEqual(await readFile(memory), damaged, 'left as it is');
    const foreign = Buffer.from(bytes);
    const at = foreign.indexOf('"model_sha256":"') + '"model_sha256":"'.length;
    foreign.fill('0', at, at + 64);
    await writeFile(memory, foreign);
    const listed = await command('memory', 'list');
    assert.equal(listed.out, '0\tcorrected\trecalled 0\tRex\n');
    assert.equal(listed.err, 'bitmar: another model wrote this memory: 1 of 1 photos re-encoded\n');
    assert.deepEqual(await readFile(memory), foreign, 'looking changes nothing');
    assert.equal((await command('correct', 'coffee.jpg', 'A cup')).code, 0);
    assert.match(await list(), /Rex\n.*A cup\n/);
    const [kept] = (await filesIn(place)).filter((name) => name.endsWith('.old'));
    assert.deepEqual(await readFile(join(folder, place, kept)), foreign);
  });
}

test('both work at once on one memory, under two names, and lose nothing', async () => {
  const place = join(folder, 'shared');
  await mkdir(place);
  const [memory, other] = [join(place, 'memory'), join(place, 'link')];
  await symlink('memory', other);
  const lock = `${memory}.lock`;
  const names = ['cat', 'coffee', 'rocket', 'astronaut'];
  const users = [PROGRAMS.bitmar, PROGRAMS['npx bitmar']].flatMap((program) =>
    [memory, other].map((path) => withMemory(program, path)));
  // The owner of an abandoned lock holds nobody up.
  await writeFile(lock, String(spawnSync(process.execPath, ['--version']).pid));
  await Promise.all(names.map((name, i) => users[i].does('correct', `${name}.jpg`, `my ${name}`)));
  const lists = await Promise.all(users.map(({ list }) => list()));
  for (const list of lists) assert.equal(list, lists[0]);
  for (const name of names) {
    assert.match(lists[0], new RegExp(`corrected\trecalled 0\tmy ${name}\n`));
  }
  // A running one does.
  await writeFile(lock, String(process.pid));
  const before = await readFile(memory);
  const recalling = Promise.all(names.map((name, i) => users[3 - i].does(`${name}.jpg`)));
  await sleep(3000);
  assert.deepEqual(await readFile(memory), before);
  await rm(lock);
  assert.deepEqual(await recalling, names.map((name) => `${name}.jpg: my ${name}\n`));
  for (const name of names) {
    assert.match(await users[0].list(), new RegExp(`corrected\trecalled 1\tmy ${name}\n`));
  }
  assert.deepEqual(await filesIn('shared'), ['link', 'memory']);
});
