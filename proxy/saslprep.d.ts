// Types of the package saslprep, which brings none.
// Invariant: no more than its one function, as its readme has it.
declare module 'saslprep' {
  /** RFC 4013; throws for text it prohibits. */
  export default function saslprep(text: string): string;
}
