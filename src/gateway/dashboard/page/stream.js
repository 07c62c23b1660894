/**
 * The gateway's stream of events, read with fetch so that it can say the token. It is opened again
 * whenever it ends.
 */

const RETRY_MS = 1000;
/** The gateway says something at least this often; what is silent for longer is gone. */
const SILENCE_MS = 10_000;

/**
 * Calls `onEvent(name, data)` for each event, `onAway(reason)` whenever there is no stream, and
 * `onToken()` when the token is asked for. Resolves never; `changed()` opens it anew with the present
 * token.
 */
export function openStream(url, token, { onEvent, onAway, onToken }) {
  let abort = new AbortController();
  let wake = () => {};

  async function attempt() {
    abort = new AbortController();
    let silence = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const said = token();
      const headers = said === null ? {} : { authorization: `Bearer ${said}` };
      const response = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
      if (response.status === 401) return onToken();
      if (!response.ok) return onAway(`the gateway answers ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      while (true) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(silence);
        silence = setTimeout(() => abort.abort(), SILENCE_MS);
        text += value;
        const parts = text.split("\n\n");
        text = parts.pop();
        for (const part of parts) dispatch(part, onEvent);
      }
      onAway("the gateway has ended the connection");
    } catch {
      onAway("the gateway cannot be reached");
    } finally {
      clearTimeout(silence);
    }
  }

  (async () => {
    while (true) {
      await attempt();
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, RETRY_MS);
      });
    }
  })();
  return {
    changed() {
      abort.abort();
      wake();
    },
  };
}

function dispatch(part, onEvent) {
  let name = "message";
  const data = [];
  for (const line of part.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  // A comment keeps the connection alive and is no event.
  if (data.length > 0) onEvent(name, JSON.parse(data.join("\n")));
}
