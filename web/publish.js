// The form that publishes: one event on a topic, and the id that the server gave it.

const PATIENCE_MS = 10000;

export class Publish {
  #form;
  #answer;
  #origin;
  #typed;
  #isSending = false;

  /** `origin` tells where to publish to, and `typed` is called with the type of an event before it is sent. */
  constructor(form, answer, origin, typed) {
    this.#form = form;
    this.#answer = answer;
    this.#origin = origin;
    this.#typed = typed;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  async #submit() {
    if (this.#isSending) return;
    const { topic, type, format, data } = this.#form.elements;
    const mistake = format.value === 'application/json' ? mistakeIn(data.value) : null;
    if (mistake) {
      this.#say(`Not JSON: ${mistake}`, false);
      return;
    }
    this.#isSending = true;
    this.#say('Sending…', true);
    try {
      this.#typed(type.value || 'message');
      const id = await this.#post(topic.value, type.value, format.value, data.value);
      this.#say(`Published as ${id}`, true);
    } catch (error) {
      this.#say(error.message, false);
    } finally {
      this.#isSending = false;
    }
  }

  async #post(topic, type, format, body) {
    const origin = this.#origin();
    const query = type ? `?type=${encodeURIComponent(type)}` : '';
    const request = { method: 'POST', headers: { 'content-type': format }, body, signal: AbortSignal.timeout(PATIENCE_MS) };
    const response = await fetch(`${origin}/publish/${encodeURIComponent(topic)}${query}`, request).catch((error) => {
      throw new Error(error.name === 'TimeoutError'
        ? `No answer from ${origin} in ${PATIENCE_MS / 1000} seconds: streams may hold all connections to it. The event may be published or not.`
        : `No answer from ${origin}. The event may be published or not.`);
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(`Refused (${response.status}): ${answer.detail ?? answer.title ?? 'no reason given'}`);
    return answer.id;
  }

  #say(text, isGood) {
    this.#answer.textContent = text;
    this.#answer.classList.toggle('bad', !isGood);
  }
}

function mistakeIn(json) {
  try {
    JSON.parse(json);
    return null;
  } catch (error) {
    return error.message;
  }
}
