// Bun's own publish (docs: "WebSockets", "Pub/Sub"): topics, strings, no compression, which is
// the default. It speaks as much of edgestream's JSON as the generator needs and checks
// nothing. Run it with a port; HOST says where, and CERTIFICATE and KEY are for TLS.

const { HOST, CERTIFICATE, KEY } = process.env;

function handle(socket, op) {
  if (op.op === "publish") {
    const { topic, body } = op;
    const key = body.sessionId;
    server.publish(`${topic} ${key}`, JSON.stringify({ op: "event", topic, key, body }));
    if (op.id) socket.send(JSON.stringify({ op: "ack", id: op.id }));
  } else if (op.op === "subscribe") {
    socket.subscribe(`${op.topic} ${op.key}`);
    socket.send(JSON.stringify({ op: "subscribed", id: op.id }));
  }
}

const server = Bun.serve({
  hostname: HOST || "127.0.0.1",
  port: Number(process.argv[2]),
  tls: KEY ? { cert: Bun.file(CERTIFICATE), key: Bun.file(KEY) } : undefined,
  fetch(request, server) {
    const headers = { "Sec-WebSocket-Protocol": "edgestream.v1.json" };
    if (server.upgrade(request, { headers })) return undefined;
    return new Response("WebSocket only", { status: 400 });
  },
  websocket: {
    message(socket, message) {
      const decoded = JSON.parse(message);
      if (!Array.isArray(decoded)) return handle(socket, decoded);
      for (const op of decoded) handle(socket, op);
    },
  },
});
