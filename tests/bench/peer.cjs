// node's ws, as its documentation sends to many: node peer.cjs MESSAGE-FILE [CERTIFICATE KEY]
"use strict";

const fs = require("node:fs");
const { WebSocketServer } = require("ws");

const INTERVAL = 100;
const [file, certificate, key] = process.argv.slice(2);
const [, before, between, after] = /^(.*"seq":)\d+(,"time":)[\d.]+(.*)$/.exec(
    fs.readFileSync(file, "utf8"),
);
const server = certificate
    ? require("node:https").createServer({
          cert: fs.readFileSync(certificate),
          key: fs.readFileSync(key),
      })
    : require("node:http").createServer();
const sockets = new WebSocketServer({ server, path: "/ws", perMessageDeflate: false });
let seq = 0;

setInterval(() => {
    seq += 1;
    const time = (Date.now() / 1000).toFixed(6);
    const message = Buffer.from(`${before}${seq}${between}${time}${after}`);
    for (const socket of sockets.clients) {
        if (socket.readyState === socket.OPEN) {
            socket.send(message, { binary: false });
        }
    }
}, INTERVAL);

server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
    const scheme = certificate ? "https" : "http";
    console.error(`${scheme}://127.0.0.1:${server.address().port}/`);
});
