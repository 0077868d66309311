// The oracle, part of the families: relations that got another name a moment ago.
import { oracleTest } from './suite.ts';

oracleTest('renamed', ['renamed in the same transaction']);
