// bench/rivals/relay.bun.js as it is, but on the address HOST, and with TLS where
// CERTIFICATE and KEY say so. Run it with a port.

const { HOST, CERTIFICATE, KEY } = process.env;
const tls = CERTIFICATE && { cert: Bun.file(CERTIFICATE), key: Bun.file(KEY) };
const serve = Bun.serve;
Bun.serve = (options) => serve({ ...options, hostname: HOST, ...(tls && { tls }) });
await import("../../rivals/relay.bun.js");
