// The oracle, part of the families: views, rules, triggers, keys, partitions, text that is run,
// built-in functions that change something, what tools and people read.
import { oracleTest } from './suite.ts';

oracleTest('rest', [
  'views, rules, triggers, keys, partitions',
  'text that is run',
  'built-in functions that change something',
  'what tools and people read',
]);
