// A person's account on a channel, as links and attestations name it: `slack:U123`.
// Invariant: it begins with the policy's own name of the channel.
import { z } from 'zod';

export const accountName = z
  .string()
  .max(200)
  .regex(
    /^(?:slack:[UW][A-Z0-9]{1,20}|teams:[0-9a-f-]{36}|callback:[a-z0-9][a-z0-9-]*:[\x21-\x7e]+)$/,
    'an account is slack:U…, teams:<directory id> or callback:NAME:<their name there>',
  );
