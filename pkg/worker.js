// @ts-check
/** The engine in a worker of its own. */

// Imported while it runs, not before: a bundler that splits this file may load the rest only after the first
// messages came, and a worker without a handler loses them.
const server = import('./engine/worker-server.js').then(({ WorkerServer }) => new WorkerServer((message) => self.postMessage(message)));
// Thrown out of reach of the promise, it reaches the page as the worker's error.
server.catch((error) => setTimeout(() => { throw error; }));
self.onmessage = async ({ data }) => (await server).receive(data);
