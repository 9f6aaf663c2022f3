// The same fan-out as one would write it with Node's `ws`: its README's broadcast, fed by POST /publish/bench.
//
// usage: node ws.js CERTS    (NODE_PATH names the node_modules that has `ws`)
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { WebSocket, WebSocketServer } = require('ws');

const certs = process.argv[2];
const sockets = new WebSocketServer({ noServer: true });

function publish(request, response) {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const message = Buffer.concat(chunks);
    for (const socket of sockets.clients) {
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(message, { binary: false });
      }
    }
    response.writeHead(201, { 'content-length': 0 }).end();
  });
}

// As many connections may wait to be accepted as with the others.
function listen(server) {
  server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, () => {});
  });
  return new Promise((resolve) => {
    server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
      resolve(`127.0.0.1:${server.address().port}`);
    });
  });
}

async function main() {
  const tls = { cert: fs.readFileSync(`${certs}/server.pem`), key: fs.readFileSync(`${certs}/server.key`) };
  const plain = await listen(http.createServer(publish));
  const wss = await listen(https.createServer(tls, publish));
  console.log(JSON.stringify({ ready: true, server: 'ws', listeners: { http1: plain, ws: plain, wss } }));
}

main();
