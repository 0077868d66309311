declare module 'saslprep' {
  /** RFC 4013; throws for text it prohibits. */
  export default function saslprep(text: string): string;
}
