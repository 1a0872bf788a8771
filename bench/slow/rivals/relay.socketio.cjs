// bench/rivals/relay.socketio.js as it is, but on the address HOST. Run it with a port.

const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (port) {
  return listen.call(this, { port, host: process.env.HOST });
};
require("../../rivals/relay.socketio.js");
