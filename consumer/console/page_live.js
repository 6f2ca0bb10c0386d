// The stream of server-sent events, read with fetch because EventSource cannot send a token.
// It says every second that it lives; when it has been silent for a while it is dropped and begun again.

const SILENCE_MS = 4000;
// Browsers open six connections to a service at most: tabs that nobody looks at must not use them up.
const HIDDEN_MS = 5000;
const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 8000];

// Cuts a stream of text into events [{name, data}]; comments and unfinished ends are kept back.
export class EventParser {
  #rest = "";

  feed(text) {
    const blocks = (this.#rest + text).split(/\r?\n\r?\n/);
    this.#rest = blocks.pop();
    return blocks.map((block) => this.#event(block)).filter((event) => event.data);
  }

  #event(block) {
    const event = { name: "message", data: "" };
    for (const line of block.split(/\r?\n/)) {
      if (line.startsWith("event:")) event.name = line.slice(6).trim();
      else if (line.startsWith("data:")) event.data += (event.data && "\n") + line.slice(5).trimStart();
    }
    return event;
  }
}

// Calls heard(name, value) for each event, alive() for every sign of life, lost() when the stream ends, refused(status)
// when the token is not (or no longer) good. Gives a function that ends it.
export function follow(api, { heard, alive, lost, refused }) {
  let ended = false;
  let failures = 0;
  let abort = new AbortController();
  let wakeUp = () => {};
  let hearing = false;
  let resting = false;
  let restTimer = 0;

  async function once() {
    abort = new AbortController();
    let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const answer = await fetch("api/v1/stream", { headers: api.headers, cache: "no-store", signal: abort.signal });
      if (answer.status === 401 || answer.status === 403) {
        ended = true;
        refused(answer.status);
        return;
      }
      if (!answer.ok) return;
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
        failures = 0;
        hearing = true;
        for (const event of parser.feed(value)) heard(event.name, JSON.parse(event.data));
        alive();
        hearing = false;
      }
    } catch (error) {
      if (hearing) reportError(error); // our own mistake; what is shown is not to be trusted, so begin again all the same
    } finally {
      hearing = false;
      clearTimeout(watchdog);
    }
  }

  async function keepOn() {
    while (!ended) {
      await once();
      if (ended) return;
      lost();
      const wait = BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)] * (0.75 + Math.random() / 2);
      await new Promise((resolve) => {
        wakeUp = resolve;
        if (!resting) setTimeout(resolve, wait);
      });
    }
  }

  function rest() {
    resting = true;
    abort.abort();
  }

  function look() {
    clearTimeout(restTimer);
    if (document.hidden) {
      restTimer = setTimeout(rest, HIDDEN_MS);
    } else {
      resting = false;
      wakeUp();
    }
  }

  addEventListener("online", look);
  document.addEventListener("visibilitychange", look);
  keepOn();
  return () => {
    ended = true;
    abort.abort();
    clearTimeout(restTimer);
    removeEventListener("online", look);
    document.removeEventListener("visibilitychange", look);
  };
}
