// Socket.IO: a room for each session. As its documentation advises for speed ("Performance
// tuning", "Memory usage"): WebSocket only, the native `bufferutil`, and the request of each
// connection is let go. Run it with a port, and NODE_PATH where socket.io is installed; HOST
// says where, and CERTIFICATE and KEY are for TLS.

const { readFileSync } = require("node:fs");
const { Server } = require("socket.io");

const { HOST, CERTIFICATE, KEY } = process.env;
const http = KEY
  ? require("node:https").createServer({ cert: readFileSync(CERTIFICATE), key: readFileSync(KEY) })
  : require("node:http").createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });
io.engine.on("connection", (raw) => {
  raw.request = null;
});

function publish({ topic, body }) {
  const key = body.sessionId;
  io.to(`${topic} ${key}`).emit("event", { topic, key, body });
}

io.on("connection", (socket) => {
  socket.on("subscribe", ({ topic, key }, done) => {
    socket.join(`${topic} ${key}`);
    done();
  });
  socket.on("publish", (messages) => {
    if (!Array.isArray(messages)) return publish(messages);
    for (const message of messages) publish(message);
  });
});

http.listen(Number(process.argv[2]), HOST || "127.0.0.1");
