// What a model's program does with an MCP server: it starts it, and asks over its stdin.
// Invariant: what an answer holds is what the model would see; the server is gone when we are done.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
}

export interface McpServer {
  /** The result, or `{ error }` with the message. */
  ask(method: string, params: object): Promise<unknown>;
}

const HELLO = {
  protocolVersion: '2024-11-05',
  capabilities: {},
  clientInfo: { name: 'model', version: '1' },
};

export async function withServer<T>(
  script: string,
  args: readonly string[],
  work: (server: McpServer) => Promise<T>,
): Promise<T> {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(child, 'close');
  const lines = createInterface({ input: child.stdout });
  const answers = lines[Symbol.asyncIterator]();
  const send = (message: object) =>
    child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  let id = 0;
  const ask = async (method: string, params: object): Promise<unknown> => {
    send({ id: ++id, method, params });
    const { value, done } = await answers.next();
    if (done === true) throw new Error(`the server ended at ${method}`);
    const answer = JSON.parse(value) as Answer;
    return answer.error === undefined ? answer.result : { error: answer.error.message };
  };
  try {
    await ask('initialize', HELLO);
    send({ method: 'notifications/initialized' });
    return await work({ ask });
  } finally {
    child.kill();
    await gone;
  }
}
