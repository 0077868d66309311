// The oracle, part of the families: what is used in the transaction that makes it.
import { oracleTest } from './suite.ts';

oracleTest('made', ['made in the same transaction']);
