/* What an agent may ask the page to do. Whatever it does not know, it leaves alone. */

const THEMES = new Set(['dark', 'light']);

export function act({ type, value }) {
  if (type === 'change_theme' && THEMES.has(value)) document.documentElement.dataset.theme = value;
}
