/** What a Node program can write in addition to any.ts. */
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import type { PhotoSource } from 'bitmar';

export const photos: PhotoSource[] = [await readFile('cat.jpg'), pathToFileURL('cat.jpg'), new Blob([Buffer.from('')])];
