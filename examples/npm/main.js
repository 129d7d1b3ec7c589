import { BitMar } from './node_modules/bitmar/index.js'; // with a bundler: from 'bitmar'

const bitmar = await BitMar.load();
const say = (text) => (document.querySelector('#caption').textContent = text);
document.querySelector('input').onchange = async ({ target }) => {
  const { text } = await bitmar.caption(target.files[0], { onToken: say });
  say(text);
};
