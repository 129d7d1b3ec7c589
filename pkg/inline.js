// @ts-check
/**
 * The package with the engine in it, for where nothing can be imported on demand: service workers,
 * and so the background of browser extensions.
 */
import { provideInlineWorker } from './client/inline.js';
import { InlineWorker } from './engine/inline-worker.js';

provideInlineWorker(InlineWorker);

export * from './index.js';
