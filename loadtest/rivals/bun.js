// A broadcast server on Bun: topics by ws.subscribe and server.publish, which are those of uWebSockets.
// The profile `bun` speaks it: "subscribe TOPIC" is answered "subscribed TOPIC", "publish TOPIC PAYLOAD" is not answered.
// `bun bun.js PORT`: loopback only.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    message(ws, message) {
      const verb = message.indexOf(" ");
      if (message.startsWith("publish ")) {
        const topic = message.indexOf(" ", verb + 1);
        server.publish(message.slice(verb + 1, topic), message.slice(topic + 1));
      } else if (message.startsWith("subscribe ")) {
        const topic = message.slice(verb + 1);
        ws.subscribe(topic);
        ws.send("subscribed " + topic);
      } else {
        ws.close(1008, "subscribe or publish");
      }
    },
  },
});
console.error(`listening on 127.0.0.1:${server.port}`);
