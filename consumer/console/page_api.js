// The operator API with a token. What is not an answer becomes a Problem with the field that is wrong, if it is one.

const SECONDS = 15;

export class Problem extends Error {
  constructor(status, { title = "", detail = "", field = null } = {}) {
    super(detail || title || `HTTP ${status}`);
    this.status = status;
    this.field = field;
  }
}

export class Api {
  constructor(token) {
    this.headers = { Authorization: `Bearer ${token}` };
  }

  get(...path) {
    const query = typeof path.at(-1) === "object" ? path.pop() : {};
    const given = Object.entries(query).filter(([, value]) => value);
    return this.#ask("GET", path, given.length ? `?${new URLSearchParams(given)}` : "");
  }

  post(path, body, headers = {}) {
    return this.#ask("POST", path, "", { body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });
  }

  put(path, body) {
    return this.#ask("PUT", path, "", { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  }

  async #ask(method, path, query, { body, headers = {} } = {}) {
    const url = `api/v1/${path.map(encodeURIComponent).join("/")}${query}`;
    let answer;
    try {
      const signal = AbortSignal.timeout(SECONDS * 1000);
      answer = await fetch(url, { method, body, headers: { ...this.headers, ...headers }, cache: "no-store", signal });
    } catch {
      const effect = method === "GET" ? "Try again in a moment." : "It is not known whether this took effect: look, then try again.";
      throw new Problem(0, { detail: `The service does not answer. ${effect}` });
    }
    const json = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Problem(answer.status, json);
    return json;
  }
}
