// One stream of events for all open transcripts of a browser: over HTTP/1.1 it allows six connections to a server.
// Runs as a SharedWorker; as a plain script where there is none, and then a page streams only while it is in sight.
(() => {
  const NAMES = ["message", "burst", "turn", "draft", "deleted", "session"];
  const MOST = 50;  // as the server allows; the pages opened last are followed
  const WAITS = [1000, 5000, 15000, 30000];  // ms until the next attempt

  const createHub = () => {
    const pages = new Map();  // port -> { conversation, address }
    const cursors = new Map();  // conversation -> index of the last message that every page of it has
    let stream = null;
    let timer = null;
    let failures = 0;

    const relay = (event, name) => {
      const data = JSON.parse(event.data);
      failures = 0;
      if (name === "message") {
        cursors.set(data.conversation, Math.max(cursors.get(data.conversation) ?? -1, data.message_index));
      }
      for (const [port, page] of pages) if (page.conversation === data.conversation) port.postMessage({ name, data });
    };
    const open = () => {
      timer = null;
      if (stream) stream.close();
      stream = null;
      const followed = [...pages.values()].slice(-MOST);
      if (!followed.length) return;
      const query = [...new Set(followed.map((page) => page.conversation))]
        .map((conversation) => `conversation=${conversation}:${cursors.get(conversation)}`);
      stream = new EventSource(`${followed[followed.length - 1].address}?${query.join("&")}`);
      for (const name of NAMES) stream.addEventListener(name, (event) => relay(event, name));
      stream.onerror = () => {
        stream.close();  // the browser's own attempt would name the cursors of this one
        const wait = WAITS[Math.min(failures, WAITS.length - 1)];
        failures += 1;
        later(wait);
      };
    };
    const later = (wait) => {
      if (timer) clearTimeout(timer);
      timer = setTimeout(open, wait);
    };
    const follow = (port, page) => {
      const known = [...pages.values()].some((other) => other.conversation === page.conversation);
      const cursor = known ? Math.min(cursors.get(page.conversation), page.after) : page.after;
      cursors.set(page.conversation, cursor);
      pages.delete(port);
      pages.set(port, page);
      later(50);  // several pages opened at once are one stream
    };
    const leave = (port) => {
      if (pages.delete(port)) later(50);
    };
    return { follow, leave };
  };

  if (typeof SharedWorkerGlobalScope === "function" && self instanceof SharedWorkerGlobalScope) {
    const hub = createHub();
    self.addEventListener("connect", (event) => {
      const [port] = event.ports;
      port.onmessage = ({ data }) => (data.leaves ? hub.leave(port) : hub.follow(port, data));
    });
    return;
  }

  const shared = (address) => {
    const { port } = new SharedWorker(address);
    return {
      follow: (page, act) => {
        port.onmessage = ({ data }) => act(data);
        port.postMessage(page);
      },
      leave: () => port.postMessage({ leaves: true }),
    };
  };
  const alone = () => {
    const hub = createHub();
    const port = {};
    const leave = () => hub.leave(port);
    const follow = (page, act) => {
      port.postMessage = act;
      hub.follow(port, page);
    };
    return { follow, leave, whenSeen: true };
  };
  // What a page calls: `after` is asked at every beginning, `act` is given { name, data }.
  window.parleyFollow = ({ worker, conversation, address, after, act }) => {
    const way = window.SharedWorker ? shared(worker) : alone();
    const begin = () => way.follow({ conversation, address, after: after() }, act);
    begin();
    addEventListener("pagehide", () => way.leave());
    addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
    if (way.whenSeen) {
      document.addEventListener("visibilitychange", () => (document.hidden ? way.leave() : begin()));
    }
  };
})();
