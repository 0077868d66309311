// The oracle, part of the families: what is used in the transaction that changes or drops it.
import { oracleTest } from './suite.ts';

oracleTest('changed', ['changed in the same transaction']);
