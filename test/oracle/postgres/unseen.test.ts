// The oracle: what a change sets off in places that its text does not name, how much of a table it
// reaches, and by which of several functions.
import { countedTest } from './suite.ts';

countedTest('unseen');
