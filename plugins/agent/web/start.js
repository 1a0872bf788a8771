/* Which page this is: the chat over WebSocket, or that of a front end over HTTP. */

const { searchParams } = new URL(location.href);

await import(searchParams.has('dialect') ? './dialects/page.js' : './chat.js');
