// Calls to the approver, and its live events. Errors carry the server's own words.

export class CallError extends Error {
  constructor(code, title, detail) {
    super(detail || title);
    this.code = code;
    this.title = title;
  }
}

/** How far this browser's clock is from the approver's, in milliseconds. */
let skew = 0;
export const now = () => Date.now() + skew;

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: 'same-origin',
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new CallError('offline', 'No answer', 'The approver does not answer. Is it running?');
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) {
    if (typeof answer.now === 'string') skew = Date.parse(answer.now) - Date.now();
    return answer;
  }
  throw new CallError(answer.code ?? 'internal', answer.title ?? 'Failed', answer.detail ?? '');
}

/** Tells `changed` of every hold that changes; returns the way to stop. */
export function live(changed, state) {
  const source = new EventSource('/api/events');
  source.addEventListener('hold', (e) => changed(JSON.parse(e.data)));
  source.addEventListener('open', () => state(true));
  source.addEventListener('error', () => state(false));
  return () => source.close();
}
