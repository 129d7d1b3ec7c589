export default {
  // Vite's pre-bundling would take the worker, the wasm file and the model away from beside the module.
  optimizeDeps: { exclude: ['bitmar'] },
  // Paths relative to the page: the site works in any folder.
  base: './',
  build: { target: 'esnext' },
};
