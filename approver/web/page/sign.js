// Signing in this browser: the digest is computed here from the binding that is shown, and the
// passkey signs that.

import { call, now } from '/api.js';
import canonicalize from '/vendor/canonicalize.js';
import { startAuthentication } from '/vendor/webauthn/index.js';

const encoder = new TextEncoder();

function base64url(bytes) {
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

async function sha256(text) {
  return base64url(await crypto.subtle.digest('SHA-256', encoder.encode(text)));
}

/** null when the card shows exactly what its binding says, else what differs. */
export async function checkCard(card) {
  const b = card.binding;
  if ((await sha256(canonicalize(b))) !== card.digest)
    return 'the digest is not that of the binding';
  if (b.statement !== card.statement_base64) return 'the statement is not the one in the binding';
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytesOf(b.statement));
  const bad = card.pieces.some((p) => p.mark?.startsWith('byte '));
  if (!bad && card.pieces.map((p) => p.text).join('') !== text) {
    return 'the statement shown is not the one in the binding';
  }
  if (b.agent !== card.agent) return 'the agent is not the one in the binding';
  if (b.target !== card.target) return 'the target is not the one in the binding';
  if (b.environment !== card.environment) return 'the environment is not the one in the binding';
  if (b.database !== card.database) return 'the database is not the one in the binding';
  const shown = card.parameters.map((p) => [p.type, p.format, p.base64]);
  const bound = b.parameters.map((p) => [p.type, p.format, p.base64]);
  if (JSON.stringify(shown) !== JSON.stringify(bound)) {
    return 'the parameters are not those in the binding';
  }
  return null;
}

/**
 * Signs with one of the person's passkeys and hands it in; resolves with the card as it is then.
 */
export async function decide(card, me, choice, reason) {
  const wrong = await checkCard(card);
  if (wrong) throw new Error(`This card can’t be signed: ${wrong}.`);
  const passkeys = me.keys.filter((k) => k.method === 'passkey');
  if (passkeys.length === 0) throw new Error('Enrol a passkey first (under “You”).');
  const decision = {
    v: 1,
    kind: 'holdpoint-decision',
    hold: card.id,
    binding: card.digest,
    decision: choice,
    reason: reason.trim() === '' ? null : reason.trim(),
    signer: me.name,
    signed: new Date(now()).toISOString(),
  };
  const challenge = await sha256(`holdpoint decision v1\n${canonicalize(decision)}`);
  const assertion = await startAuthentication({
    optionsJSON: {
      challenge,
      rpId: location.hostname,
      userVerification: 'required',
      timeout: 60000,
      allowCredentials: passkeys.map((k) => ({ id: k.credential, type: 'public-key' })),
    },
  });
  const key = passkeys.find((k) => k.credential === assertion.id);
  return await call('POST', `/api/holds/${card.id}/decisions`, {
    decision,
    key: key.thumbprint,
    signature: assertion.response.signature,
    evidence: {
      authenticator_data: assertion.response.authenticatorData,
      client_data: assertion.response.clientDataJSON,
    },
  });
}
