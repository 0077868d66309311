// The oracle, part of the families: places where a function can stand, operators, casts, domains,
// types, how a change is narrowed.
import { oracleTest } from './suite.ts';

oracleTest('places', [
  'places where a function can stand',
  'operators, casts, domains, types',
  'how a change is narrowed',
]);
