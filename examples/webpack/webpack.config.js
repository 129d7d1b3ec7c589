import { fileURLToPath } from 'node:url';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

export default {
  mode: 'production',
  context: path('.'),
  entry: './main.js',
  output: { path: path('./dist'), filename: 'main.js' },
  // The model is as large as it is; it is not part of the script.
  performance: { hints: false },
};
