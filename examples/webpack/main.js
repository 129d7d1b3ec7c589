import { BitMar } from 'bitmar';

const bitmar = await BitMar.load();
const say = (text) => (document.querySelector('#caption').textContent = text);
document.querySelector('input').onchange = async ({ target }) => {
  const { text } = await bitmar.caption(target.files[0], { onToken: say });
  say(text);
};
