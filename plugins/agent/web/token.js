/* Who the reader is, where a token says so: `#access_token=…` behind the page's address.
 *
 * What stands there is sent to nobody and logged nowhere. It is kept for this tab, also on
 * its way to another page, and taken out of the address, which is there to be shared.
 */

const NAME = 'access_token';

export const token = taken() ?? kept();

/** The header that says it over HTTP; none without a token. */
export const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };

function taken() {
  const given = new URLSearchParams(location.hash.slice(1)).get(NAME);
  if (!given) return undefined;
  history.replaceState(history.state, '', location.pathname + location.search);
  try {
    sessionStorage.setItem(NAME, given);
  } catch {
    // Nothing may be kept here: it is good for this page alone.
  }
  return given;
}

function kept() {
  try {
    return sessionStorage.getItem(NAME) ?? undefined;
  } catch {
    return undefined;
  }
}
