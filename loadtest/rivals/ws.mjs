// A broadcast server on npm's ws, in its usual shape: what one client sends goes to every other one that is open.
// The profile `ws` speaks it: there are no topics. `node ws.mjs PORT`: loopback only.
import { WebSocket, WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false });

server.on("connection", (sender) => {
  sender.on("error", () => sender.terminate());
  sender.on("message", (data, binary) => {
    for (const client of server.clients) {
      if (client !== sender && client.readyState === WebSocket.OPEN) client.send(data, { binary });
    }
  });
});
server.on("listening", () => console.error(`listening on 127.0.0.1:${server.address().port}`));
